/* Telling systemd (Type=notify) how a service is. Without a NOTIFY_SOCKET in the environment nothing happens. */
#ifndef CLI_NOTIFY_H
#define CLI_NOTIFY_H

/* "READY=1", "STOPPING=1", "STATUS=..."; lines with newlines between them. */
void notify_service(const char *state);

#endif
