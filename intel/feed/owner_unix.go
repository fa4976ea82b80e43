//go:build unix

package feed

import (
	"io/fs"
	"os"
	"syscall"
)

// openFlags open a file to be read, not through a link, and without waiting for who writes to a pipe.
const openFlags = os.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// ownerOf gives the user whose file it is.
func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}
