/*
 * The main of a fuzz target without libFuzzer: calls the target once for each file given, so that
 * corpora replay with any compiler. A crash names the file on stderr first.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t size);

static void replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *p = NULL;
	long size;

	if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0 ||
		fseek(f, 0, SEEK_SET) != 0) {
		perror(path);
		exit(1);
	}
	/* Exactly as large as the input, so that ASan sees a read past its end. */
	p = malloc(size > 0 ? (size_t)size : 1);
	if (p == NULL || fread(p, 1, (size_t)size, f) != (size_t)size) {
		perror(path);
		exit(1);
	}
	fclose(f);
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(p, (size_t)size);
	free(p);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	return 0;
}
