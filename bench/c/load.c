/* Calls something from N threads for T seconds and prints what each call took, as JSON.
 *
 *   load KIND THREADS SECONDS CALLS TARGET...
 *
 * KIND     statvfs  statvfs(TARGET); several targets are taken in turn, one per thread
 *          read     open, read to the end and close TARGET
 *          rados    rados_cluster_stat; TARGET is: conf id keyring.  librados is loaded at run time, for its headers are
 *                   in a package that nothing else needs
 * CALLS    how many at most in each thread; 0: as many as the time allows
 *
 * In C, because a caller in Python would measure itself.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

struct rados_stat { uint64_t kb, kb_used, kb_avail, num_objects; };
struct rados {
    void *cluster;
    int (*stat)(void *, struct rados_stat *);
    void (*shutdown)(void *);
};

enum kind { STATVFS, READ, RADOS };

struct worker {
    pthread_t thread;
    const char *target;
    uint32_t *took_ns; /* 4 s at most in one slot */
    size_t calls, room, errors;
};

static enum kind kind;
static double seconds;
static size_t max_calls;
static struct rados rados;
static pthread_barrier_t together;

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int call(const char *target)
{
    switch (kind) {
    case STATVFS: {
        struct statvfs out;
        return statvfs(target, &out);
    }
    case RADOS: {
        struct rados_stat out;
        return rados.stat(rados.cluster, &out);
    }
    case READ: {
        char buf[65536];
        ssize_t n;
        int fd = open(target, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return -1;
        while ((n = read(fd, buf, sizeof buf)) > 0)
            ;
        close(fd);
        return n < 0 ? -1 : 0;
    }
    }
    return -1;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    uint64_t begin, end, stop;
    if (call(w->target) != 0) /* the first one pays for what is paid once */
        w->errors++;
    pthread_barrier_wait(&together);
    begin = now_ns();
    stop = begin + (uint64_t)(seconds * 1e9);
    while (begin < stop && (max_calls == 0 || w->calls < max_calls)) {
        int failed = call(w->target) != 0;
        end = now_ns();
        if (failed)
            w->errors++;
        if (w->calls == w->room) {
            w->room = w->room ? 2 * w->room : 4096;
            w->took_ns = realloc(w->took_ns, w->room * sizeof *w->took_ns);
            if (!w->took_ns)
                abort();
        }
        w->took_ns[w->calls++] = end - begin > UINT32_MAX ? UINT32_MAX : (uint32_t)(end - begin);
        begin = now_ns();
    }
    return NULL;
}

static void die(const char *what, int err)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(err));
    exit(1);
}

static void *symbol(void *lib, const char *name)
{
    void *found = dlsym(lib, name);
    if (!found) {
        fprintf(stderr, "load: %s\n", dlerror());
        exit(1);
    }
    return found;
}

static void connect_rados(char **argv)
{
    void *lib = dlopen("librados.so.2", RTLD_NOW);
    int (*create)(void **, const char *), (*conf_read)(void *, const char *);
    int (*conf_set)(void *, const char *, const char *), (*connect)(void *), err;
    if (!lib) {
        fprintf(stderr, "load: %s\n", dlerror());
        exit(1);
    }
    create = symbol(lib, "rados_create");
    conf_read = symbol(lib, "rados_conf_read_file");
    conf_set = symbol(lib, "rados_conf_set");
    connect = symbol(lib, "rados_connect");
    rados.stat = symbol(lib, "rados_cluster_stat");
    rados.shutdown = symbol(lib, "rados_shutdown");
    if ((err = create(&rados.cluster, argv[1])) || (err = conf_read(rados.cluster, argv[0])) ||
        (err = conf_set(rados.cluster, "keyring", argv[2])) ||
        (err = conf_set(rados.cluster, "ms_mon_client_mode", "secure")) || (err = connect(rados.cluster)))
        die("rados", -err);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    size_t threads, calls = 0, errors = 0, at = 0;
    struct worker *workers;
    uint32_t *all;
    uint64_t begin;
    double took;
    pthread_attr_t attr;
    if (argc < 6) {
        fprintf(stderr, "usage: load statvfs|read|rados THREADS SECONDS CALLS TARGET...\n");
        return 2;
    }
    kind = strcmp(argv[1], "rados") == 0 ? RADOS : strcmp(argv[1], "read") == 0 ? READ : STATVFS;
    threads = strtoul(argv[2], NULL, 10);
    seconds = strtod(argv[3], NULL);
    max_calls = strtoul(argv[4], NULL, 10);
    if (kind == RADOS)
        connect_rados(argv + 5);
    workers = calloc(threads, sizeof *workers);
    pthread_barrier_init(&together, NULL, (unsigned)threads + 1);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 << 10);
    for (size_t i = 0; i < threads; i++) {
        int err;
        workers[i].target = argv[5 + i % (size_t)(argc - 5)];
        if ((err = pthread_create(&workers[i].thread, &attr, work, &workers[i])))
            die("thread", err);
    }
    pthread_barrier_wait(&together);
    begin = now_ns();
    for (size_t i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        calls += workers[i].calls;
        errors += workers[i].errors;
    }
    took = (double)(now_ns() - begin) / 1e9;
    all = malloc((calls + 1) * sizeof *all);
    for (size_t i = 0; i < threads; i++) {
        if (workers[i].calls)
            memcpy(all + at, workers[i].took_ns, workers[i].calls * sizeof *all);
        at += workers[i].calls;
    }
    qsort(all, calls, sizeof *all, compare);
#define AT(p) (calls ? all[(size_t)((double)(calls - 1) * (p))] / 1e3 : 0.0)
    printf("{\"calls\": %zu, \"errors\": %zu, \"seconds\": %.6f, \"per_s\": %.1f, \"min_us\": %.1f, \"p50_us\": %.1f, "
           "\"p90_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
           calls, errors, took, (double)calls / took, AT(0), AT(0.5), AT(0.9), AT(0.99), AT(1));
    if (kind == RADOS)
        rados.shutdown(rados.cluster);
    return 0;
}
