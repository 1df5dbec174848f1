/* What fate does to one process from below, by LD_PRELOAD: its disk takes long to say that data are safe; its clocks are wrong.
 *
 * The program is the one of production; only the system's answers differ. A file of three numbers, which the harness writes and every process
 * maps, says how: the delay of each flush in microseconds, and what is added to the time of day and to the monotonic clock, in nanoseconds.
 * Without that file nothing differs. Whoever wants the true time asks the kernel past this library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct fate {
    int64_t flush_us, realtime_ns, monotonic_ns;
};

static const struct fate none;
static const volatile struct fate *fate = &none;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_fsync)(int), (*real_fdatasync)(int);
static int (*real_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*real_sem_timedwait)(sem_t *, const struct timespec *);

static void find(void) {
    real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_sem_timedwait = dlsym(RTLD_NEXT, "sem_timedwait");
    /* Without a version this is that of another kind of condition, which old programs have. */
    static const char *const versions[] = {"GLIBC_2.3.2", "GLIBC_2.17", "GLIBC_2.27"};
    for (unsigned i = 0; i < sizeof versions / sizeof *versions && !real_timedwait; i++)
        real_timedwait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", versions[i]);
    if (!real_timedwait) real_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
}

__attribute__((constructor)) static void begin(void) {
    find();
    const char *path = getenv("TEST_FATE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *map = mmap(NULL, sizeof(struct fate), PROT_READ, MAP_SHARED, file, 0);
    if (map != MAP_FAILED) fate = map;
    close(file);
}

static void wait_for_the_disk(void) {
    int64_t us = fate->flush_us;
    if (us <= 0) return;
    struct timespec left = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&left, NULL);
}

int fsync(int file) {
    if (!real_fsync) find();
    wait_for_the_disk();
    return real_fsync(file);
}

int fdatasync(int file) {
    if (!real_fdatasync) find();
    wait_for_the_disk();
    return real_fdatasync(file);
}

int clock_gettime(clockid_t which, struct timespec *now) {
    if (!real_gettime) find();
    int code = real_gettime(which, now);
    int64_t shift = which == CLOCK_REALTIME ? fate->realtime_ns : which == CLOCK_MONOTONIC ? fate->monotonic_ns : 0;
    if (code != 0 || shift == 0) return code;
    int64_t ns = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + shift;
    now->tv_sec = ns / 1000000000;
    now->tv_nsec = ns % 1000000000;
    return code;
}

/* The kernel's instant for one by the shifted clocks; without this a wait of a second would last as long as the clock is ahead. Which clock
 * counts is the condition's secret: no machine has been up for 30 years. */
static struct timespec by_the_true_clock(const struct timespec *at) {
    int64_t shift = at->tv_sec > 1000000000 ? fate->realtime_ns : fate->monotonic_ns;
    int64_t ns = (int64_t)at->tv_sec * 1000000000 + at->tv_nsec - shift;
    if (ns < 0) ns = 0;
    return (struct timespec){ns / 1000000000, ns % 1000000000};
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *at) {
    if (!real_timedwait) find();
    struct timespec until = by_the_true_clock(at);
    return real_timedwait(condition, mutex, &until);
}

int sem_timedwait(sem_t *semaphore, const struct timespec *at) {
    if (!real_sem_timedwait) find();
    struct timespec until = by_the_true_clock(at);
    return real_sem_timedwait(semaphore, &until);
}
