"""File systems of their own for a data directory: one that loses power, one that is full.

Power loss: ext4 on a loop device, and its shutdown ioctl without a flush of the journal. From that moment
every write and sync fails with EIO, and after the next mount only what had been synced is there: what a power
cut leaves, short of a drive that lies about its cache. Needs root, mkfs.ext4 and loop devices; NotHere where
that is not to be had.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile

EXT4_IOC_SHUTDOWN = 0x8004587D   # _IOR('X', 125, __u32)
NO_LOG_FLUSH = struct.pack("I", 2)


class NotHere(Exception):
    """This machine cannot do it."""


def run(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except OSError as error:
        raise NotHere(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        raise NotHere(f"{' '.join(command[:3])}: {done.stderr.strip()[-200:]}")


def fast_folder(prefix):
    """A new folder in memory if there is room: what others do to the real disk is not the server's fault."""
    place = "/dev/shm"
    roomy = os.path.isdir(place) and os.access(place, os.W_OK) and shutil.disk_usage(place).free > 2 << 30
    return tempfile.mkdtemp(prefix=prefix, dir=place if roomy else None)


class LoopDisk:
    def __init__(self, size=256 << 20):
        self.folder = fast_folder("ringtalk-chaos-disk-")
        self.image, self.path = os.path.join(self.folder, "image"), os.path.join(self.folder, "disk")
        self.filler = os.path.join(self.path, "filler")
        self.mounted = False
        os.mkdir(self.path)
        try:
            with open(self.image, "wb") as image:
                image.truncate(size)
            run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1",
                self.image)
            self.mount()
        except NotHere:
            self.close()
            raise

    def mount(self):
        run("mount", "-o", "loop", self.image, self.path)
        self.mounted = True

    def unmount(self):
        run("umount", self.path)
        self.mounted = False

    def cut_power(self):
        """From here on nothing reaches the disk."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
        except OSError as error:
            raise NotHere(f"ext4 shutdown: {error}") from None
        finally:
            os.close(descriptor)

    def restore_power(self):
        """Nobody may have a file on it open."""
        self.unmount()
        self.mount()

    def free_bytes(self):
        info = os.statvfs(self.path)
        return info.f_bavail * info.f_frsize

    def fill(self, leave):
        with open(self.filler, "ab") as filler:
            size = os.fstat(filler.fileno()).st_size
            for step in (1 << 20, 64 << 10, 4 << 10):
                while self.free_bytes() >= leave + step:
                    try:
                        os.posix_fallocate(filler.fileno(), size, step)
                    except OSError:
                        break
                    size += step

    def empty(self):
        os.unlink(self.filler)

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.path], capture_output=True, timeout=60)
            self.mounted = False
        shutil.rmtree(self.folder, ignore_errors=True)
