/* In kontiki-mutants: which of the deliberate mistakes (base/mutant.h) a process makes, by the environment's KONTIKI_MUTANT. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mutant.h"
#include "base/util.h"

enum mutant mutant_active;

static const char *const names[] = {
	"none",
#define MUTANT_ROW(name, scenario, text) #name,
#include "base/mutants.def"
#undef MUTANT_ROW
};

__attribute__((constructor)) static void choose(void)
{
	const char *wanted = getenv("KONTIKI_MUTANT");

	for (size_t i = 0; wanted != NULL && i < ARRAY_LEN(names); i++)
		if (strcmp(wanted, names[i]) == 0) {
			mutant_active = (enum mutant)i;
			return;
		}
	if (wanted != NULL) {
		fprintf(stderr, "KONTIKI_MUTANT: there is no mistake \"%s\"\n", wanted);
		_Exit(2);
	}
}
