/* CRC-32C (Castagnoli), as iSCSI (RFC 3720) and etcd's WAL use it; hardware-accelerated where the CPU can. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continue from `crc` (0 to begin). */
uint32_t crc32c(uint32_t crc, const void *p, size_t size);

#endif
