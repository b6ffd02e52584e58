/*
 * Deliberate mistakes, to show that the simulator finds them. Each is a row of base/mutants.def and one MUTANT(name) in the code
 * it breaks. Only programs built with KONTIKI_MUTANTS (tests/sim/sim-mutants) contain any; elsewhere MUTANT is the constant false.
 */
#ifndef BASE_MUTANT_H
#define BASE_MUTANT_H

#include <stdbool.h>

#ifdef KONTIKI_MUTANTS
enum mutant {
	MUTANT_NONE,
#define MUTANT_ROW(name, scenario, text) MUTANT_##name,
#include "base/mutants.def"
#undef MUTANT_ROW
	MUTANT_N
};
/* Defined, and chosen, by the test program. */
extern enum mutant mutant_active;
#define MUTANT(name) (mutant_active == MUTANT_##name)
#else
#define MUTANT(name) false
#endif

#endif
