# Runs inside the sandbox as `perl canary_probe.pl walls NAME` or `perl canary_probe.pl memory MIB`.
# It tries what a job must not be able to do and tells what happened, one "name value" a line, in seen.txt.
# An errno is told as its number, 0 for success. It judges nothing, and bounds itself.
# Perl, since it is in every Debian image, small ones too, and can make a system call by its number.
use strict;
use warnings;
use Socket;
use Fcntl;

my %seen;

sub slurp {
    my ($path) = @_;
    open(my $file, '<', $path) or return '';
    local $/;
    return scalar <$file>;
}

sub put {
    my ($path, $text) = @_;
    open(my $file, '>>', $path) or return $! + 0;
    print {$file} $text;
    return close($file) ? 0 : $! + 0;
}

# Bytes that fit into a file; it stops by itself at `most` MiB.
sub fill {
    my ($path, $most) = @_;
    my ($piece, $bytes) = ('x' x 65536, 0);
    sysopen(my $file, $path, O_WRONLY | O_CREAT) or return 0;
    while ($bytes < $most * 1048576) {
        my $wrote = syswrite($file, $piece);
        last unless $wrote;
        $bytes += $wrote;
    }
    close($file);
    unlink($path);
    return $bytes;
}

# An ordinary job: read what is given, list, make, add to, rename, remove.
sub ordinary {
    return 'read' unless slurp('given.txt') eq "given\n";
    opendir(my $before, '.') or return 'list';
    my %names = map { $_ => 1 } readdir($before);
    return 'list' unless $names{'given.txt'} && $names{'canary_probe.pl'};
    return 'write' if put('out/first.txt', "written\n");
    rename('out/first.txt', 'out/written.txt') or return 'rename';
    return 'add' if put('given.txt', "more\n");
    return 'read again' unless slurp('given.txt') eq "given\nmore\n";
    return 'scratch' if put('scratch.txt', "x\n");
    unlink('scratch.txt') or return 'remove';
    opendir(my $after, 'out') or return 'list again';
    return 'list again' unless grep { $_ eq 'written.txt' } readdir($after);
    return 'ok';
}

# The errno of a system call, made by a child, since one that works may change who made it.
sub attempt {
    my ($number, @words) = @_;
    my $child = fork() // return 'x';
    if ($child == 0) { POSIX::_exit(syscall($number, @words) == -1 ? $! + 0 : 0); }
    waitpid($child, 0);
    return $? & 127 ? 'x' : $? >> 8;
}

sub reach {
    my ($address, $port) = @_;
    socket(my $out, PF_INET, SOCK_STREAM, 0) or return $! + 0;
    my $error = 0;
    eval {
        local $SIG{ALRM} = sub { die "silent\n" };
        alarm(2);
        $error = $! + 0 unless connect($out, sockaddr_in($port, inet_aton($address)));
        alarm(0);
    };
    return $@ ? 0 : $error;    # silence means that there is a way
}

# Empty files that fit into a folder; it stops by itself.
sub many {
    my ($folder, $most) = @_;
    my $files = 0;
    while ($files < $most) {
        last unless sysopen(my $file, "$folder/$files", O_WRONLY | O_CREAT);
        $files++;
    }
    unlink("$folder/$_") for 0 .. $files - 1;
    return $files;
}

# How many files of this name have something in them, in a folder's folders: a disk each has one.
sub beside {
    my ($folder, $name) = @_;
    opendir(my $disks, $folder) or return 0;
    return scalar(grep { length(slurp("$folder/$_/$name")) } readdir($disks));
}

# How many files have something in them.
sub readable { return scalar(grep { length(slurp($_)) } @_); }

sub walls {
    my ($abstract) = @_;
    $seen{folder} = ordinary();

    my %status = slurp('/proc/self/status') =~ /^(\w+):\s+(.*)$/mg;
    $seen{user} = join(' ', $<, $>, $( + 0, $) + 0);
    $seen{capabilities} = join('', map { $status{$_} // 'x' } qw(CapInh CapPrm CapEff CapBnd CapAmb));
    $seen{no_new_privileges} = $status{NoNewPrivs} // 'x';
    $seen{filter} = $status{Seccomp} // 'x';

    $seen{interfaces} = join(',', sort(slurp('/proc/net/dev') =~ /^\s*([^\s:|]+):/mg));
    $seen{reach_documentation} = reach('192.0.2.1', 53);
    $seen{reach_metadata} = reach('169.254.169.254', 80);
    socket(my $name, PF_UNIX, SOCK_STREAM, 0);
    $seen{reach_abstract} = connect($name, pack('S a*', AF_UNIX, "\0$abstract")) ? 0 : $! + 0;
    for (['alg', 38, 5], ['packet', 17, 3], ['vsock', 40, 1], ['raw', 2, 3], ['audit', 16, 3, 9]) {
        my ($what, $family, $type, $protocol) = @$_;
        $seen{"socket_$what"} = socket(my $made, $family, $type, $protocol // 0) ? 0 : $! + 0;
    }

    # The same calls have different numbers on the two machines that we run on.
    my $arm = (POSIX::uname())[4] eq 'aarch64';
    my %numbers = (
        bpf => [321, 280, 99, 0, 0], io_uring_setup => [425, 425, 4, 0], keyctl => [250, 219, 0, -3, 1],
        mount => [165, 40, 0, 0, 0, 0, 0], perf_event_open => [298, 241, 0, 0, -1, -1, 0],
        personality => [135, 92, 0xffffffff], ptrace => [101, 117, 0, 0, 0, 0],
        setns => [308, 268, -1, 0], unshare => [272, 97, 0x10000000], userfaultfd => [323, 282, 1],
    );
    for my $call (sort keys %numbers) {
        my ($intel, $other, @words) = @{$numbers{$call}};
        $seen{"call_$call"} = attempt($arm ? $other : $intel, @words);
    }

    $seen{write_root} = put('/canary', 'x');
    $seen{write_etc} = put('/etc/canary', 'x');
    $seen{write_sysctl} = put('/proc/sys/kernel/hostname', 'x');
    $seen{engine_socket} = -e '/var/run/docker.sock' ? 0 : $! + 0;

    my $counters = readable('/proc/diskstats', '/proc/partitions');
    for my $folder ('/sys/block', '/sys/class/block', '/sys/dev/block', '/sys/devices/virtual/block') {
        $counters += beside($folder, 'stat');
    }
    $counters += beside('/sys/fs/ext4', 'session_write_kbytes');
    $counters += beside('/proc/fs/ext4', 'es_shrinker_info') + beside('/proc/fs/jbd2', 'info');
    $seen{disk_counters} = $counters || 'none';
    $seen{load_counters} = readable(
        '/proc/interrupts', '/proc/locks', '/proc/schedstat', '/proc/softirqs', '/proc/vmstat', '/proc/zoneinfo',
        '/proc/pressure/cpu', '/proc/pressure/io', '/proc/sys/fs/file-nr', '/proc/sys/kernel/pty/nr',
        '/sys/kernel/uevent_seqnum',
    ) || 'none';

    my @open;
    while (@open < 1000) {
        last unless open(my $file, '<', '/dev/null');
        push(@open, $file);
    }
    $seen{open_files} = scalar(@open);
    @open = ();
    $seen{tmp_bytes} = fill('/tmp/fill', 16);
    $seen{shm_bytes} = fill('/dev/shm/fill', 16);
    $seen{disk_bytes} = fill('fill', 64);
    $seen{tmp_files} = many('/tmp', 5000);
    mkdir('many');
    $seen{files} = many('many', 20000);

    my @children;
    while (@children < 100) {
        my $child = fork();
        last unless defined $child;
        if ($child == 0) { sleep(20); POSIX::_exit(0); }
        push(@children, $child);
    }
    $seen{processes} = scalar(@children);
    kill('KILL', @children);
    waitpid($_, 0) for @children;
}

sub memory {
    my ($most) = @_;
    my @pieces;
    push(@pieces, 'x' x 1048576) for 1 .. $most;
    return scalar(@pieces);
}

require POSIX;
$| = 1;
if ($ARGV[0] eq 'memory') {
    memory($ARGV[1]);
}
else {
    walls($ARGV[1]);
    put('out/seen.txt', join('', map { "$_ $seen{$_}\n" } sort keys %seen)) and exit(1);
}
