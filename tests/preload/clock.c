/* A wall clock that a test sets while the program runs, for LD_PRELOAD.
 *
 * CLOCK_SHIFT_FILE names a file whose first eight bytes are how far the clock is off, in nanoseconds,
 * as the machine writes a signed number. The file is mapped, so a write to it sets the clock at once
 * and reading the clock costs one load more. It must be there when the program starts, and must not
 * get shorter.
 *
 * Only what a program is told is shifted. The monotonic clock is left alone, and so is how long a
 * wait takes: a deadline that was reckoned from the shifted clock is handed to the system as the
 * machine's clock has it. (Between the two the clock may be set: that wait then takes as long as it
 * would on a machine whose clock is set.) Nothing here allocates, looks up a symbol or takes a lock, because an
 * allocator asks for the time while it allocates. The program finds these in place of the C library's
 * (glibc 2.30 or later); what calls the kernel by itself keeps the machine's time. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(time_t) == 8 && sizeof(long) == 8, "a 64-bit machine");

static const int64_t SECOND = 1000000000;
static const int64_t no_shift = 0;
static const volatile int64_t *shift = &no_shift;

__attribute__((constructor)) static void map_the_shift(void)
{
    const char *path = getenv("CLOCK_SHIFT_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *place = mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, file, 0);
    if (place != MAP_FAILED)
        shift = place;
    close(file);
}

static void move(struct timespec *time, int64_t by)
{
    int64_t nanoseconds = time->tv_nsec + by % SECOND;
    time->tv_sec += by / SECOND;
    if (nanoseconds < 0) {
        nanoseconds += SECOND;
        time->tv_sec -= 1;
    } else if (nanoseconds >= SECOND) {
        nanoseconds -= SECOND;
        time->tv_sec += 1;
    }
    time->tv_nsec = nanoseconds;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int failed = syscall(SYS_clock_gettime, clock, time);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        move(time, *shift);
    return failed;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *seconds)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds)
        *seconds = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *time, int base)
{
    if (base != TIME_UTC)
        return 0;
    clock_gettime(CLOCK_REALTIME, time);
    return base;
}

/* Whose deadline it is: no machine has been up for the thirty years after which the monotonic clock
 * looks like the wall clock. A condition keeps its clock to itself. */
static clockid_t clock_of(const struct timespec *deadline)
{
    return deadline->tv_sec > 1000000000 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
}

static struct timespec as_the_machine_has_it(clockid_t clock, const struct timespec *deadline)
{
    struct timespec moved = *deadline;
    if (clock == CLOCK_REALTIME)
        move(&moved, -*shift);
    return moved;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline)
{
    clockid_t clock = clock_of(deadline);
    struct timespec moved = as_the_machine_has_it(clock, deadline);
    return pthread_cond_clockwait(condition, mutex, clock, &moved);
}

/* Those of <threads.h> always mean the wall clock, and are those of POSIX by other names. */
static int as_thread_result(int error)
{
    return error == 0 ? thrd_success : error == ETIMEDOUT ? thrd_timedout : thrd_error;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict deadline)
{
    struct timespec moved = as_the_machine_has_it(CLOCK_REALTIME, deadline);
    return as_thread_result(pthread_cond_clockwait((pthread_cond_t *)condition,
                                                   (pthread_mutex_t *)mutex, CLOCK_REALTIME, &moved));
}

int mtx_timedlock(mtx_t *restrict mutex, const struct timespec *restrict deadline)
{
    struct timespec moved = as_the_machine_has_it(CLOCK_REALTIME, deadline);
    return as_thread_result(
        pthread_mutex_clocklock((pthread_mutex_t *)mutex, CLOCK_REALTIME, &moved));
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex, const struct timespec *restrict deadline)
{
    struct timespec moved = as_the_machine_has_it(CLOCK_REALTIME, deadline);
    return pthread_mutex_clocklock(mutex, CLOCK_REALTIME, &moved);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline)
{
    struct timespec moved = as_the_machine_has_it(CLOCK_REALTIME, deadline);
    return sem_clockwait(semaphore, CLOCK_REALTIME, &moved);
}
