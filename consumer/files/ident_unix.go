//go:build unix

package files

import (
	"io/fs"
	"syscall"
)

// idOf gives device and inode.
func idOf(info fs.FileInfo) fileID {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fileID{uint64(st.Dev), st.Ino} //nolint:unconvert // the width differs between systems.
	}
	return fileID{}
}

// deleted tells whether an open file has no name left.
func deleted(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
