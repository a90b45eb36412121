/*
 * Applies the packed relocations (DT_RELR) of a static position-independent program before the C library
 * starts. musl does so itself since 1.2.4; before, its start file knows the long forms alone.
 *
 * Link with --wrap=__libc_start_main, for it is the first that the start file calls. Until then nothing
 * here may use an address that has to be relocated: everything is hidden or static.
 */
#include <stddef.h>

enum { DT_RELRSZ = 35, DT_RELR = 36 };
enum { BITMAP_WORDS = 8 * sizeof(size_t) - 1 };

typedef int main_function(int, char **, char **);
typedef void hook(void);

extern const size_t _DYNAMIC[] __attribute__((visibility("hidden")));
extern char __ehdr_start[] __attribute__((visibility("hidden")));
int __real___libc_start_main(main_function *, int, char **, hook *, hook *, hook *);

/* Its own address, once the packed relocations are applied. */
static void *volatile applied = (void *)&applied;

static void apply(const size_t *entry, size_t bytes)
{
	const size_t base = (size_t)__ehdr_start, *end = entry + bytes / sizeof *entry;
	size_t *where = NULL;

	for (; entry < end; entry++) {
		if (!(*entry & 1)) {
			where = (size_t *)(base + *entry);
			*where++ += base;
			continue;
		}
		/* A bit for each of the words behind the last address. */
		for (size_t bits = *entry >> 1, *word = where; bits; bits >>= 1, word++)
			if (bits & 1)
				*word += base;
		where += BITMAP_WORDS;
	}
}

int __wrap___libc_start_main(main_function *main, int argc, char **argv, hook *init, hook *fini, hook *last)
{
	size_t packed = 0, bytes = 0;

	for (const size_t *tag = _DYNAMIC; tag[0]; tag += 2) {
		if (tag[0] == DT_RELR)
			packed = tag[1];
		else if (tag[0] == DT_RELRSZ)
			bytes = tag[1];
	}
	if (applied != (void *)&applied)
		apply((const size_t *)(__ehdr_start + packed), bytes);
	return __real___libc_start_main(main, argc, argv, init, fini, last);
}
