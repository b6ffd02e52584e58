/* What an agent says of its certificates on its Node: names of keys (the SHA-256 of the public half, 16 hex digits), by commas. */
#ifndef ORCHESTRATOR_CLIENT_PKI_ANNOTATIONS_H
#define ORCHESTRATOR_CLIENT_PKI_ANNOTATIONS_H

#define PKI_TRUSTED "kontiki.io/trusted-cas"     /* the CAs that it trusts */
#define PKI_USED "kontiki.io/certificate-issuers" /* those that have signed what it shows to others */

#endif
