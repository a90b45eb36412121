/*
 * Applies the packed relocations (DT_RELR) of a static position-independent program before the C library
 * starts. musl does so itself since 1.2.4; before, its start file knows the long forms alone.
 *
 * On x86-64, link with --wrap=__libc_start_main, for it is the first that the start file calls. On
 * the others the start file itself reads relocated addresses: link with -e start_relocated, too. Until then
 * nothing here may use an address that has to be relocated: everything is hidden or static.
 */
#include <stddef.h>

enum { DT_RELRSZ = 35, DT_RELR = 36 };
enum { BITMAP_WORDS = 8 * sizeof(size_t) - 1 };

typedef int main_function(int, char **, char **);
typedef void hook(void);

extern size_t _DYNAMIC[] __attribute__((visibility("hidden")));
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

/* The number of bytes of packed relocations, and where they are. */
static size_t *find(const size_t **entry)
{
	size_t *bytes = NULL;

	for (size_t *tag = _DYNAMIC; tag[0]; tag += 2) {
		if (tag[0] == DT_RELR)
			*entry = (const size_t *)(__ehdr_start + tag[1]);
		else if (tag[0] == DT_RELRSZ)
			bytes = &tag[1];
	}
	return bytes;
}

int __wrap___libc_start_main(main_function *main, int argc, char **argv, hook *init, hook *fini, hook *last)
{
	const size_t *entry = NULL;
	const size_t *bytes = find(&entry);

	if (bytes && applied != (void *)&applied)
		apply(entry, *bytes);
	return __real___libc_start_main(main, argc, argv, init, fini, last);
}

/* The entry point calls this and goes on to that of the start file, with the stack as the kernel made it. */
#if defined __aarch64__ || defined __arm__ || defined __i386__ || defined __s390x__
#if defined __s390x__
#define CALL_AND_GO_ON "aghi %r15, -160; brasl %r14, apply_early; aghi %r15, 160; jg _start"
#elif defined __i386__
#define CALL_AND_GO_ON "call apply_early; jmp _start"
#else
#define CALL_AND_GO_ON "bl apply_early; b _start"
#endif
__asm__(".text\n.global start_relocated\n.type start_relocated, %function\nstart_relocated: " CALL_AND_GO_ON "\n");

__attribute__((visibility("hidden"))) void apply_early(void)
{
	const size_t *entry = NULL;
	size_t *bytes = find(&entry);

	if (bytes) {
		apply(entry, *bytes);
		/* For a C library that would apply them again. */
		*bytes = 0;
	}
}
#endif
