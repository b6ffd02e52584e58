/*
 * Clocks and random numbers of the real machine. Code that must run in the simulator takes time and
 * randomness as values or through its own ops; it does not call these.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* CLOCK_MONOTONIC: for every timeout, election and lease. */
uint64_t clock_mono_ns(void);
uint64_t clock_mono_ms(void);
/* CLOCK_REALTIME: for timestamps that people read. */
int64_t clock_wall_ns(void);
int64_t clock_wall_s(void);

/* RFC 3339 in UTC, "2006-01-02T15:04:05Z"; buffer of CLOCK_RFC3339_SIZE. */
#define CLOCK_RFC3339_SIZE 32
void clock_rfc3339(int64_t unix_s, char out[CLOCK_RFC3339_SIZE]);
/* With microseconds: "2006-01-02T15:04:05.000000Z" (metav1.MicroTime). */
void clock_rfc3339_micro(int64_t unix_s, int32_t ns, char out[CLOCK_RFC3339_SIZE]);

/* Bytes of the kernel's generator, fit for keys; aborts if it fails. */
void random_bytes(void *p, size_t size);
uint64_t random_u64(void);
/* Lower-case RFC 4122 version 4 UUID, 36 characters and NUL. */
void random_uuid(char out[37]);
/* n characters of the alphabet that Kubernetes uses for generated names (no vowels), and NUL. */
void random_suffix(char *out, size_t n);

#endif
