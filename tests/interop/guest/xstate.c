/*
 * User-Mode Linux up to 6.12 on a processor with more registers than it has room for.
 *
 * It keeps 2696 bytes of each guest process's extended state (SSE to AVX-512 and PKRU) and hands exactly those back with
 * PTRACE_SETREGSET. A host kernel takes only the whole state (arch/x86/kernel/fpu/regset.c, xstateregs_set), which with
 * AMX is some 11 KiB: the guest's first process dies at its first instruction. Loaded with LD_PRELOAD, this puts zeros,
 * which mean "never used", behind what the guest gives. No guest process can use AMX: it has to be asked for.
 *
 * No stack to speak of (the guest kernel's is small), no libc (the guest kernel has functions of the same names).
 */
#include <stdarg.h>
#include <stddef.h>
#include <sys/uio.h>

enum { GETREGSET = 0x4204, SETREGSET = 0x4205, SYS_PTRACE = 101 };
enum { NT_X86_XSTATE = 0x202, LARGEST = 65536 };

static long system_call(long request, long pid, long address, long data)
{
	register long r10 __asm__("r10") = data;
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"((long)SYS_PTRACE), "D"(request), "S"(pid), "d"(address), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
}

extern int *__errno_location(void);

static long returned(long result)
{
	if (result >= 0)
		return result;
	*__errno_location() = (int)-result;
	return -1;
}

/* The host's state, as long as the host says it is. */
static unsigned char whole[LARGEST] __attribute__((aligned(64)));

static void copy(void *to, const void *from, size_t length)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
}

static void clear(void *to, size_t length)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(length) : "a"(0) : "memory");
}

static long whole_length(long pid)
{
	static long known;
	struct iovec all = { whole, sizeof(whole) };
	if (known == 0 && system_call(GETREGSET, pid, NT_X86_XSTATE, (long)&all) == 0)
		known = (long)all.iov_len;
	return known;
}

long ptrace(int request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	long pid = va_arg(arguments, int);
	long address = va_arg(arguments, long);
	long data = va_arg(arguments, long);
	va_end(arguments);

	/* As ptrace(3): what PEEK requests read is returned. */
	if (request >= 1 && request <= 3) {
		long word = 0;
		long result = system_call(request, pid, address, (long)&word);
		return result < 0 ? returned(result) : word;
	}
	if (request == SETREGSET && address == NT_X86_XSTATE) {
		const struct iovec *given = (const struct iovec *)data;
		long length = whole_length(pid);
		if (length > (long)given->iov_len) {
			clear(whole, (size_t)length);
			copy(whole, given->iov_base, given->iov_len);
			struct iovec all = { whole, (size_t)length };
			return returned(system_call(request, pid, address, (long)&all));
		}
	}
	return returned(system_call(request, pid, address, data));
}
