/* The canary: one static program that attacks the sandbox it runs in and says in JSON what happened.
 *
 *   canary <attack> [argument...]
 *
 * It prints one JSON object on stdout. It limits itself (2,000 processes, 2 GiB, 60 s), so that a run
 * without the protection under test cannot hurt the host.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/vm_sockets.h>
#include <mqueue.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_PROCESSES 2000
#define MOST_MIB 2048
#define MOST_SECONDS 60
#define MIB (1024UL * 1024UL)

extern char **environ;

/* JSON: a very small writer. */

static int first = 1;

static void text(const char *value) {
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)value; *c; c++) {
        if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if (*c < 0x20 || *c > 0x7e)
            printf("\\u%04x", *c);
        else
            putchar(*c);
    }
    putchar('"');
}

static void key(const char *name) {
    printf(first ? "{" : ", ");
    first = 0;
    text(name);
    printf(": ");
}

static void number(const char *name, long value) {
    key(name);
    printf("%ld", value);
}

static void string(const char *name, const char *value) {
    key(name);
    text(value);
}

/* "ok", or the name of the error. */
static void outcome(const char *name, long result) {
    string(name, result < 0 ? strerrorname_np(errno) : "ok");
}

static int finish(int status) {
    printf(first ? "{}\n" : "}\n");
    fflush(stdout);
    return status;
}

static void file_text(const char *name, const char *path) {
    static char buffer[262144];
    int fd = open(path, O_RDONLY);
    size_t have = 0;
    ssize_t got = 0;
    if (fd < 0) {
        string(name, strerrorname_np(errno));
        return;
    }
    while (have < sizeof buffer - 1 && (got = read(fd, buffer + have, sizeof buffer - 1 - have)) > 0)
        have += (size_t)got;
    close(fd);
    buffer[have] = 0;
    string(name, got < 0 ? strerrorname_np(errno) : buffer);
}

static long least(long a, long b) { return a < b ? a : b; }

/* What a job can see. */

static int snapshot(void) {
    char host[256] = "", folder[4096] = "", pids[16384] = "", names[1024] = "";
    struct rlimit limit;
    struct ifaddrs *all = NULL;
    const struct { const char *name; int which; } limits[] = {
        {"nofile", RLIMIT_NOFILE}, {"core", RLIMIT_CORE}, {"fsize", RLIMIT_FSIZE},
        {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}};

    key("environment");
    printf("[");
    for (char **entry = environ; *entry; entry++) {
        if (entry != environ)
            printf(", ");
        text(*entry);
    }
    printf("]");
    number("uid", (long)getuid());
    number("euid", (long)geteuid());
    number("gid", (long)getgid());
    number("groups", getgroups(0, NULL));
    gethostname(host, sizeof host);
    string("hostname", host);
    string("cwd", getcwd(folder, sizeof folder) ? folder : "");
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        getrlimit(limits[i].which, &limit);
        number(limits[i].name, (long)limit.rlim_max);
    }
    file_text("status", "/proc/self/status");
    file_text("mountinfo", "/proc/self/mountinfo");
    file_text("resolv", "/etc/resolv.conf");
    file_text("hosts", "/etc/hosts");
    file_text("devices", "/proc/net/dev");
    file_text("cgroup", "/proc/self/cgroup");
    if (getifaddrs(&all) == 0)
        for (struct ifaddrs *one = all; one; one = one->ifa_next)
            if (!strstr(names, one->ifa_name) && strlen(names) < 900) {
                strcat(names, one->ifa_name);
                strcat(names, " ");
            }
    string("interfaces", names);
    DIR *proc = opendir("/proc");
    for (struct dirent *entry = proc ? readdir(proc) : NULL; entry; entry = readdir(proc))
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && strlen(pids) < 16000) {
            strcat(pids, entry->d_name);
            strcat(pids, " ");
        }
    string("pids", pids);
    return finish(0);
}

/* Ways out. */

static int dial(int family, int type, int protocol, const void *address, socklen_t size, const char *say) {
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -1;
    if (connect(fd, address, size) < 0) {
        int error = 0;
        socklen_t length = sizeof error;
        fd_set ready;
        struct timeval patience = {1, 0};
        if (errno != EINPROGRESS)
            return -1;
        FD_ZERO(&ready);
        FD_SET(fd, &ready);
        if (select(fd + 1, NULL, &ready, NULL, &patience) < 1) {
            errno = ETIMEDOUT;
            return -1;
        }
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error) {
            errno = error;
            return -1;
        }
    }
    if (say && send(fd, say, strlen(say), MSG_NOSIGNAL) < 0)
        return -1;
    return 0;
}

static int network(const char *host, int port, const char *abstract) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_vm vsock = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = 1};
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    inet_pton(AF_INET, host, &v4.sin_addr);
    outcome("tcp", dial(AF_INET, SOCK_STREAM, 0, &v4, sizeof v4, "canary"));
    outcome("udp", dial(AF_INET, SOCK_DGRAM, 0, &v4, sizeof v4, "canary"));
    outcome("sctp", dial(AF_INET, SOCK_STREAM, IPPROTO_SCTP, &v4, sizeof v4, NULL));
    outcome("icmp", dial(AF_INET, SOCK_DGRAM, IPPROTO_ICMP, &v4, sizeof v4, "canary12"));
    outcome("raw", dial(AF_INET, SOCK_RAW, IPPROTO_ICMP, &v4, sizeof v4, "canary12"));
    outcome("packet", socket(AF_PACKET, SOCK_RAW, 0));
    inet_pton(AF_INET6, "2001:db8::1", &v6.sin6_addr);
    outcome("ipv6", dial(AF_INET6, SOCK_STREAM, 0, &v6, sizeof v6, NULL));
    inet_pton(AF_INET, "169.254.169.254", &v4.sin_addr);
    v4.sin_port = htons(80);
    outcome("metadata", dial(AF_INET, SOCK_STREAM, 0, &v4, sizeof v4, NULL));
    inet_pton(AF_INET, "192.0.2.1", &v4.sin_addr);
    v4.sin_port = htons(53);
    outcome("dns", dial(AF_INET, SOCK_DGRAM, 0, &v4, sizeof v4, "canary"));
    outcome("vsock", dial(AF_VSOCK, SOCK_STREAM, 0, &vsock, sizeof vsock, NULL));
    strncpy(name.sun_path + 1, abstract, sizeof name.sun_path - 2);
    outcome("abstract", dial(AF_UNIX, SOCK_STREAM, 0, &name,
                             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(abstract)), "canary"));
    return finish(0);
}

/* Eating the host. */

static int forks(long wanted) {
    static pid_t children[MOST_PROCESSES];
    long made = 0;
    const char *error = "ok";
    for (wanted = least(wanted, MOST_PROCESSES); made < wanted; made++) {
        pid_t child = fork();
        if (child < 0) {
            error = strerrorname_np(errno);
            break;
        }
        if (child == 0) {
            sleep(MOST_SECONDS);
            _exit(0);
        }
        children[made] = child;
    }
    for (long i = 0; i < made; i++)
        kill(children[i], SIGKILL);
    for (long i = 0; i < made; i++)
        waitpid(children[i], NULL, 0);
    number("made", made);
    string("error", error);
    return finish(made == wanted ? 0 : 3);
}

static void *idle(void *nothing) {
    sleep(MOST_SECONDS);
    return nothing;
}

static int threads(long wanted) {
    long made = 0;
    int error = 0;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (wanted = least(wanted, MOST_PROCESSES); made < wanted && error == 0;) {
        pthread_t thread;
        error = pthread_create(&thread, &small, idle, NULL);
        if (error == 0)
            made++;
    }
    number("made", made);
    string("error", error ? strerrorname_np(error) : "ok");
    finish(error ? 3 : 0);
    _exit(error ? 3 : 0);
}

static int memory(long mib) {
    long done = 0;
    for (mib = least(mib, MOST_MIB); done < mib; done++) {
        char *piece = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (piece == MAP_FAILED)
            break;
        memset(piece, 1 + (int)(done % 100), MIB);
    }
    number("mib", done);
    return finish(done == mib ? 0 : 3);
}

static int memory_of_a_child(long mib) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        fclose(stdout);
        _exit(memory(mib));
    }
    waitpid(child, &status, 0);
    number("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return finish(0);
}

static int fill(const char *path, long mib) {
    static char piece[65536];
    long bytes = 0, wanted = least(mib, MOST_MIB) * (long)MIB;
    const char *error = "ok";
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    memset(piece, 'x', sizeof piece);
    if (fd < 0)
        error = strerrorname_np(errno);
    while (fd >= 0 && bytes < wanted) {
        ssize_t wrote = write(fd, piece, sizeof piece);
        if (wrote <= 0) {
            error = strerrorname_np(errno);
            break;
        }
        bytes += wrote;
    }
    number("bytes", bytes);
    string("error", error);
    return finish(bytes >= wanted ? 0 : 3);
}

static int files(const char *folder, long wanted) {
    char path[4096];
    long made = 0;
    const char *error = "ok";
    for (wanted = least(wanted, 200000); made < wanted; made++) {
        snprintf(path, sizeof path, "%s/file-%ld", folder, made);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd < 0) {
            error = strerrorname_np(errno);
            break;
        }
        close(fd);
    }
    number("made", made);
    string("error", error);
    return finish(made == wanted ? 0 : 3);
}

static int sparse(const char *path) {
    signal(SIGXFSZ, SIG_IGN);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    int grown = ftruncate(fd, 1L << 40);
    outcome("truncate", grown);
    ssize_t wrote = pwrite(fd, "x", 1, (1L << 40) - 1);
    outcome("write_far", wrote);
    return finish(grown < 0 || wrote < 0 ? 3 : 0);
}

static int descriptors(long wanted) {
    long made = 0;
    const char *error = "ok";
    for (wanted = least(wanted, 100000); made < wanted; made++)
        if (open("/", O_RDONLY) < 0) {
            error = strerrorname_np(errno);
            break;
        }
    number("made", made);
    string("error", error);
    return finish(made == wanted ? 0 : 3);
}

static int queues(void) {
    struct mq_attr attributes = {.mq_maxmsg = 10, .mq_msgsize = 8192};
    mqd_t queue = mq_open("/canary", O_CREAT | O_RDWR, 0600, &attributes);
    outcome("open", queue);
    return finish(queue < 0 ? 3 : 0);
}

static int core(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
    if (chdir("/workspace") == 0)
        abort();
    return 1;
}

/* How often the kernel held this container back for its quota; -1 where it does not say. */
static long throttled(void) {
    static const char *places[] = {"/sys/fs/cgroup/cpu/cpu.stat", "/sys/fs/cgroup/cpu,cpuacct/cpu.stat",
                                   "/sys/fs/cgroup/cpu.stat"};
    char line[256];
    long times = -1;
    for (size_t i = 0; i < sizeof places / sizeof *places && times < 0; i++) {
        FILE *file = fopen(places[i], "r");
        while (file && fgets(line, sizeof line, file))
            sscanf(line, "nr_throttled %ld", &times);
        if (file)
            fclose(file);
    }
    return times;
}

static int spin(long seconds) {
    struct timespec start, now, used;
    long cpu = 0;
    int pipes[2];
    if (pipe(pipes) < 0)
        return 1;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < 4; i++)
        if (fork() == 0) {
            do
                clock_gettime(CLOCK_MONOTONIC, &now);
            while (now.tv_sec - start.tv_sec < least(seconds, MOST_SECONDS));
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
            long ms = used.tv_sec * 1000 + used.tv_nsec / 1000000;
            if (write(pipes[1], &ms, sizeof ms) < 0)
                _exit(1);
            _exit(0);
        }
    for (int i = 0; i < 4; i++) {
        long ms = 0;
        if (read(pipes[0], &ms, sizeof ms) == sizeof ms)
            cpu += ms;
    }
    number("cpu_ms", cpu);
    number("wall_ms", seconds * 1000);
    number("throttled", throttled());
    return finish(0);
}

static int chatter(long mib, int lines) {
    static char piece[65536];
    memset(piece, 'a', sizeof piece);
    for (size_t i = 127; lines && i < sizeof piece; i += 128)
        piece[i] = '\n';
    for (long i = 0; i < least(mib, MOST_MIB) * 16; i++)
        if (write(1, piece, sizeof piece) < 0)
            return 1;
    return write(1, "THE-END\n", 8) == 8 ? 0 : 1;
}

/* Not dying. */

static int stubborn(long seconds) {
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    if (fork() == 0) {
        setsid();
        if (fork() == 0)
            for (long i = 0; i < least(seconds, MOST_SECONDS); i++) {
                int fd = open("/workspace/alive", O_WRONLY | O_CREAT | O_APPEND, 0600);
                if (fd < 0 || write(fd, ".", 1) < 0)
                    _exit(1);
                close(fd);
                sleep(1);
            }
        _exit(0);
    }
    string("state", "deaf");
    finish(0);
    sleep((unsigned)least(seconds, MOST_SECONDS));
    return 0;
}

/* End well, and leave a deaf child behind that has stdout open. */
static int leave(long seconds) {
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (fork() == 0) {
        setsid();
        if (fork() == 0)
            for (long i = 0; i < least(seconds, MOST_SECONDS) * 10; i++) {
                int fd = open("/workspace/alive", O_WRONLY | O_CREAT | O_APPEND, 0600);
                if (fd < 0 || write(fd, ".", 1) < 0)
                    _exit(1);
                close(fd);
                usleep(100000);
            }
        _exit(0);
    }
    sleep(1);
    string("state", "left");
    return finish(0);
}

static long nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

/* Another attack again and again for a while; the status of the last one that failed. */
static int again(long seconds, char **words) {
    long end = nanoseconds(CLOCK_MONOTONIC) + least(seconds, MOST_SECONDS) * 1000000000L;
    int status, result = 0;
    do {
        pid_t child = fork();
        if (child == 0) {
            execv("/proc/self/exe", words);
            _exit(127);
        }
        waitpid(child, &status, 0);
        if (status)
            result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    } while (nanoseconds(CLOCK_MONOTONIC) < end);
    return result;
}

/* No attack but its neighbour: rounds of 7 ms asleep, 3 ms of processor time and one line in a file, which
 * says when the round began and how long it took, both in nanoseconds. */
static int steady(long seconds, const char *path) {
    struct timespec nap = {0, 7000000};
    long end = nanoseconds(CLOCK_MONOTONIC) + least(seconds, MOST_SECONDS) * 1000000000L;
    FILE *file = fopen(path, "w");
    if (!file)
        return 1;
    setvbuf(file, NULL, _IOLBF, 4096);
    fprintf(file, "began,took\n");
    for (long began = 0; began < end;) {
        long at = nanoseconds(CLOCK_REALTIME);
        began = nanoseconds(CLOCK_MONOTONIC);
        nanosleep(&nap, NULL);
        for (long used = nanoseconds(CLOCK_PROCESS_CPUTIME_ID), now = used; now - used < 3000000;)
            now = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
        if (fprintf(file, "%ld,%ld\n", at, nanoseconds(CLOCK_MONOTONIC) - began) < 0)
            return 1;
    }
    return fclose(file) ? 1 : 0;
}

/* The arguments of every process that can be seen. */
static int arguments(void) {
    static char all[1 << 20];
    char path[64], words[4096];
    DIR *proc = opendir("/proc");
    for (struct dirent *entry = proc ? readdir(proc) : NULL; entry; entry = readdir(proc)) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
            continue;
        snprintf(path, sizeof path, "/proc/%.16s/cmdline", entry->d_name);
        int fd = open(path, O_RDONLY);
        ssize_t got = fd < 0 ? 0 : read(fd, words, sizeof words - 2);
        close(fd);
        for (ssize_t i = 0; i < got; i++)
            words[i] = words[i] ? words[i] : ' ';
        words[got < 0 ? 0 : got] = 0;
        if (strlen(all) + strlen(words) + 2 < sizeof all)
            strcat(strcat(all, words), "\n");
    }
    string("arguments", all);
    return finish(0);
}

/* Calls and files that no job needs. */

static void write_file(const char *name, const char *path) {
    int fd = open(path, O_WRONLY);
    outcome(name, fd < 0 ? -1 : write(fd, "x", 1));
    if (fd >= 0)
        close(fd);
}

static int probe_count;
static char **probes;

/* Whether this probe was asked for; without a list all are. */
static int chosen_probe(const char *name) {
    for (int i = 0; i < probe_count; i++)
        if (!strcmp(name, probes[i]))
            return 1;
    return probe_count == 0;
}

#define TRY(name, call)         \
    do                          \
        if (chosen_probe(name)) \
            outcome(name, call); \
    while (0)

static int escape(int count, char **chosen) {
    struct stat status;
    probe_count = count;
    probes = chosen;
    TRY("engine_socket", stat("/var/run/docker.sock", &status));
    TRY("root_of_1", open("/proc/1/root/etc/shadow", O_RDONLY));
    TRY("mount", mount("none", "/tmp", "tmpfs", 0, ""));
    TRY("umount", umount("/workspace"));
    TRY("unshare_user", unshare(CLONE_NEWUSER));
    TRY("unshare_mount", unshare(CLONE_NEWNS));
    TRY("setns", syscall(SYS_setns, open("/proc/1/ns/net", O_RDONLY), 0));
    TRY("chroot", chroot("/tmp"));
    TRY("setuid", setuid(0));
    TRY("setgid", setgid(0));
    TRY("mknod", mknod("/tmp/sda", S_IFBLK | 0600, makedev(8, 0)));
    TRY("keyctl", syscall(SYS_keyctl, 0, 0, 0, 0, 0));
    TRY("add_key", syscall(SYS_add_key, "user", "canary", "x", 1, -2));
    TRY("bpf", syscall(SYS_bpf, 0, NULL, 0));
    TRY("userfaultfd", syscall(SYS_userfaultfd, 0));
    TRY("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    TRY("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
    TRY("sethostname", sethostname("owned", 5));
    TRY("init_module", syscall(SYS_init_module, NULL, 0, ""));
    TRY("open_by_handle", syscall(SYS_open_by_handle_at, -1, NULL, 0));
    TRY("settime", clock_settime(CLOCK_REALTIME, &(struct timespec){0, 0}));
    if (chosen_probe("core_pattern"))
        write_file("core_pattern", "/proc/sys/kernel/core_pattern");
    if (chosen_probe("release_agent"))
        write_file("release_agent", "/sys/fs/cgroup/memory/release_agent");
    if (chosen_probe("sysrq"))
        write_file("sysrq", "/proc/sysrq-trigger");
    if (chosen_probe("kmsg"))
        write_file("kmsg", "/dev/kmsg");
    if (chosen_probe("mem"))
        write_file("mem", "/dev/mem");
    if (chosen_probe("kcore"))
        write_file("kcore", "/proc/kcore");
    if (chosen_probe("loop"))
        write_file("loop", "/dev/loop0");
    TRY("open_folder", open("/open/planted", O_WRONLY | O_CREAT, 0600));
    TRY("root_folder", open("/planted", O_WRONLY | O_CREAT, 0600));
    TRY("resolv_conf", open("/etc/resolv.conf", O_WRONLY));
    TRY("hosts", open("/etc/hosts", O_WRONLY));
    return finish(0);
}

static int put(const char *path, const char *words) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    outcome("write", fd < 0 ? -1 : write(fd, words, strlen(words)));
    return finish(0);
}

/* Leave a secret at each path and stay. */
static int hold(int count, char **paths) {
    for (int i = 0; i < count; i++) {
        int fd = open(paths[i], O_WRONLY | O_CREAT, 0666);
        outcome(paths[i], fd < 0 ? -1 : write(fd, "secret", 6));
    }
    finish(0);
    sleep(MOST_SECONDS);
    return 0;
}

static int show(int count, char **paths) {
    for (int i = 0; i < count; i++)
        file_text(paths[i], paths[i]);
    return finish(0);
}

static int tamper(int count, char **paths) {
    char other[4096];
    for (int i = 0; i < count; i++) {
        snprintf(other, sizeof other, "%s.moved", paths[i]);
        chmod(paths[i], 0777);
        int fd = open(paths[i], O_WRONLY | O_TRUNC);
        long result = fd < 0 ? -1 : write(fd, "tampered", 8);
        if (result < 0 && unlink(paths[i]) == 0) {
            fd = open(paths[i], O_WRONLY | O_CREAT | O_EXCL, 0777);
            result = write(fd, "tampered", 8);
        }
        outcome(paths[i], result);
        if (i % 2)
            rename(paths[i], other);
    }
    return finish(0);
}

/* Everything that would change a file, or leave one beside it; the last ones take it away. */
static int spoil(const char *path) {
    static const char *endings[] = {"-wal", "-journal", "-shm", ".wal"};
    char other[4096];
    int fd = open(path, O_RDONLY);
    outcome("read", fd < 0 ? -1 : read(fd, other, 16));
    outcome("chmod_open", fchmod(fd, 0666));
    outcome("open_write", open(path, O_WRONLY));
    outcome("open_truncate", open(path, O_RDWR | O_TRUNC));
    outcome("chmod", chmod(path, 0666));
    outcome("chown", chown(path, getuid(), getgid()));
    outcome("times", utimensat(AT_FDCWD, path, NULL, 0));
    outcome("truncate", truncate(path, 1));
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(other, sizeof other, "%s%s", path, endings[i]);
        outcome(endings[i], open(other, O_WRONLY | O_CREAT, 0600));
    }
    snprintf(other, sizeof other, "%s.link", path);
    outcome("link", link(path, other));
    outcome("unlink", unlink(path));
    outcome("make", open(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
    snprintf(other, sizeof other, "%s.moved", path);
    outcome("rename", rename(path, other));
    return finish(0);
}

/* Take every kind of lock on a file that can only be read, and stay. */
static int lock(const char *path, long seconds) {
    struct flock range = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 123456, .l_len = 654321};
    int fd = open(path, O_RDONLY);
    outcome("flock", flock(fd, LOCK_EX | LOCK_NB));
    outcome("range", fcntl(fd, F_SETLK, &range));
    finish(0);
    sleep((unsigned)least(seconds, MOST_SECONDS));
    return 0;
}

/* What of others can be seen at a file that can only be read. */
static int overhear(const char *path, long seconds) {
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char events[4096];
    int watch = inotify_init1(IN_NONBLOCK);
    int fd = open(path, O_RDONLY);
    outcome("watch", inotify_add_watch(watch, path, IN_OPEN));
    string("state", "listening");
    fflush(stdout);
    sleep((unsigned)least(seconds, MOST_SECONDS));
    outcome("flock", flock(fd, LOCK_EX | LOCK_NB));
    outcome("range", fcntl(fd, F_GETLK, &range));
    number("start", range.l_type == F_UNLCK ? 0 : (long)range.l_start);
    outcome("opened", read(watch, events, sizeof events));
    return finish(0);
}

int main(int count, char **words) {
    const char *attack = count > 1 ? words[1] : "";
    const char *one = count > 2 ? words[2] : "";
    const char *two = count > 3 ? words[3] : "";
    const char *three = count > 4 ? words[4] : "";

    setvbuf(stdout, NULL, _IOFBF, 1 << 20);
    alarm(MOST_SECONDS + 5);
    if (!strcmp(attack, "exit")) return atoi(one);
    if (!strcmp(attack, "snapshot")) return snapshot();
    if (!strcmp(attack, "network")) return network(one, atoi(two), three);
    if (!strcmp(attack, "forks")) return forks(atol(one));
    if (!strcmp(attack, "threads")) return threads(atol(one));
    if (!strcmp(attack, "memory")) return memory(atol(one));
    if (!strcmp(attack, "memory-of-a-child")) return memory_of_a_child(atol(one));
    if (!strcmp(attack, "fill")) return fill(one, atol(two));
    if (!strcmp(attack, "files")) return files(one, atol(two));
    if (!strcmp(attack, "sparse")) return sparse(one);
    if (!strcmp(attack, "descriptors")) return descriptors(atol(one));
    if (!strcmp(attack, "queues")) return queues();
    if (!strcmp(attack, "core")) return core();
    if (!strcmp(attack, "spin")) return spin(atol(one));
    if (!strcmp(attack, "lines")) return chatter(atol(one), 1);
    if (!strcmp(attack, "line")) return chatter(atol(one), 0);
    if (!strcmp(attack, "stubborn")) return stubborn(atol(one));
    if (!strcmp(attack, "leave")) return leave(atol(one));
    if (!strcmp(attack, "again")) return again(atol(one), words + 2);
    if (!strcmp(attack, "steady")) return steady(atol(one), two);
    if (!strcmp(attack, "arguments")) return arguments();
    if (!strcmp(attack, "escape")) return escape(count - 2, words + 2);
    if (!strcmp(attack, "put")) return put(one, two);
    if (!strcmp(attack, "hold")) return hold(count - 2, words + 2);
    if (!strcmp(attack, "show")) return show(count - 2, words + 2);
    if (!strcmp(attack, "tamper")) return tamper(count - 2, words + 2);
    if (!strcmp(attack, "spoil")) return spoil(one);
    if (!strcmp(attack, "lock")) return lock(one, atol(two));
    if (!strcmp(attack, "overhear")) return overhear(one, atol(two));
    if (!strcmp(attack, "kill")) {
        outcome("kill", kill(atoi(one), SIGKILL));
        return finish(0);
    }
    if (!strcmp(attack, "sleep")) {
        sleep((unsigned)least(atol(one), MOST_SECONDS));
        return 0;
    }
    if (!strcmp(attack, "words")) {
        for (int i = 2; i < count; i++) {
            char name[16];
            snprintf(name, sizeof name, "%d", i - 2);
            string(name, words[i]);
        }
        return finish(0);
    }
    fprintf(stderr, "canary: unknown attack\n");
    return 2;
}
