/* The least a FUSE mount can cost: an empty root whose statfs is answered from memory, by libfuse's low-level interface.
 *
 *   memfs DIRECTORY
 *
 * What a file system in Python takes beyond this is Python's share.
 */
#define FUSE_USE_VERSION 34
#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>
#include <sys/stat.h>

static void statfs_op(fuse_req_t req, fuse_ino_t ino)
{
    struct statvfs out = { .f_bsize = 4 << 20, .f_frsize = 4 << 20, .f_blocks = 1 << 20, .f_bfree = 1 << 19,
                           .f_bavail = 1 << 19, .f_namemax = 255 };
    (void)ino;
    fuse_reply_statfs(req, &out);
}

static void getattr_op(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat out = { .st_ino = ino, .st_mode = S_IFDIR | 0555, .st_nlink = 2 };
    (void)fi;
    fuse_reply_attr(req, &out, 0);
}

int main(int argc, char **argv)
{
    static const struct fuse_lowlevel_ops ops = { .statfs = statfs_op, .getattr = getattr_op };
    char *words[] = { argv[0], "-o", "ro,fsname=memfs,default_permissions,allow_other", NULL };
    struct fuse_args args = FUSE_ARGS_INIT(3, words);
    struct fuse_session *session;
    int status = 1;
    if (argc != 2 || !(session = fuse_session_new(&args, &ops, sizeof ops, NULL)))
        return 2;
    if (fuse_set_signal_handlers(session) == 0 && fuse_session_mount(session, argv[1]) == 0) {
        status = fuse_session_loop(session) < 0;
        fuse_session_unmount(session);
    }
    fuse_session_destroy(session);
    return status;
}
