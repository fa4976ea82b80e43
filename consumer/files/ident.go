package files

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
)

const (
	// headMax is how many of a file's first bytes tell it from others.
	headMax = 1024
	// sumLen bytes of SHA-256 stand for a head.
	sumLen = 12
)

// fileID is what the file system calls a file; zero where it does not tell.
type fileID struct{ dev, ino uint64 }

// headSum is the fingerprint of a file's first n bytes (of the decompressed text).
type headSum struct {
	n   int
	sum [sumLen]byte
}

func sumOf(head []byte) headSum {
	sum := sha256.Sum256(head)
	return headSum{len(head), [sumLen]byte(sum[:sumLen])}
}

// matches tells whether a file with this head may be the file the fingerprint was taken of.
func (h headSum) matches(head []byte) bool {
	return h.n > 0 && len(head) >= h.n && sumOf(head[:h.n]) == h
}

// ident is what Position.Ident says: which file, by name of the file system and by content.
type ident struct {
	id   fileID
	head headSum
}

// String gives the form stored in positions: device, inode and head length in hex, then the checksum.
func (i ident) String() string {
	return fmt.Sprintf("%x-%x-%x-%s", i.id.dev, i.id.ino, i.head.n, hex.EncodeToString(i.head.sum[:]))
}

// parseIdent reads what String wrote.
func parseIdent(s string) (ident, bool) {
	var i ident
	part := strings.Split(s, "-")
	if len(part) != 4 {
		return i, false
	}
	var err error
	if i.id.dev, err = strconv.ParseUint(part[0], 16, 64); err != nil {
		return i, false
	}
	if i.id.ino, err = strconv.ParseUint(part[1], 16, 64); err != nil {
		return i, false
	}
	n, err := strconv.ParseUint(part[2], 16, 16)
	if err != nil || n > headMax {
		return i, false
	}
	i.head.n = int(n)
	sum, err := hex.DecodeString(part[3])
	if err != nil || len(sum) != sumLen {
		return i, false
	}
	i.head.sum = [sumLen]byte(sum)
	return i, true
}

// headOf gives the first bytes of a regular file's text, decompressed; of a damaged archive those that can be had.
func headOf(path string) (fs.FileInfo, []byte, error) {
	f, info, c, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }() // only read
	if c == notCompressed {
		head, err := headAt(f)
		return info, head, err
	}
	r, done, err := decompressor(bufio.NewReaderSize(f, headMax), c)
	if err != nil {
		return info, nil, err
	}
	defer done()
	head := make([]byte, headMax)
	n, _ := io.ReadFull(r, head) // reading the file itself will tell of damage
	return info, head[:n], nil
}

// headAt gives the first bytes of an open file.
func headAt(f io.ReaderAt) ([]byte, error) {
	head := make([]byte, headMax)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, reason(err)
	}
	return head[:n], nil
}

// preface gives the leading lines that begin with #, or else the first line if it begins with a letter, as far as they
// are whole.
func preface(b []byte) []byte {
	n := 0
	for n < len(b) && (b[n] == '#' || n == 0 && namesColumns(b)) {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			break
		}
		n += i + 1
	}
	return b[:n]
}

// namesColumns tells whether text may begin with the names of the columns of CSV: with a letter, a byte order mark aside.
func namesColumns(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF"))
	return len(b) > 0 && b[0]|0x20 >= 'a' && b[0]|0x20 <= 'z'
}
