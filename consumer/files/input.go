package files

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// aheadChunks and aheadSize bound how far a decompressor or a pipe's reader runs ahead: 1 MiB.
	aheadChunks = 4
	aheadSize   = 256 << 10
	// rawSize is how much of an archive or a pipe is read at once.
	rawSize = 256 << 10
	// maxZstdWindow is the largest window of a Zstandard frame that is accepted (RFC 8878 section 3.1.1.1.2), the limit
	// of the zstd program without --long; a frame that asks for more is an error.
	maxZstdWindow = 128 << 20
	// magicLen bytes tell the compressions apart.
	magicLen = 6
)

// input gives the bytes of one file, decompressed.
type input interface {
	// read fills a part of p, which is not empty. With wait it gives at least one byte or an error; without, zero bytes
	// and no error mean that nothing is there at the moment. io.EOF is the end, for a growing file the end for now.
	read(ctx context.Context, p []byte, wait bool) (int, error)
	close() error
}

// plainFile is a file read as it is, straight into the caller's buffer.
type plainFile struct {
	f    *os.File
	done *atomic.Int64
}

func (i plainFile) read(_ context.Context, p []byte, _ bool) (int, error) {
	n, err := i.f.Read(p)
	i.done.Add(int64(n))
	return n, err //nolint:wrapcheck // io.EOF passes as it is; the caller names the file.
}

func (i plainFile) close() error { return i.f.Close() }

// compression of a file.
type compression uint8

const (
	notCompressed compression = iota
	gzipped
	zstandard
)

// Magic numbers: RFC 1952 section 2.3.1; RFC 8878 sections 3.1.1 and 3.1.2 (skippable frames, which pzstd writes first).
// The others are named so that a person learns what is wrong.
var (
	magicGzip = []byte{0x1f, 0x8b}
	magicZstd = []byte{0x28, 0xb5, 0x2f, 0xfd}
	magicSkip = []byte{0x2a, 0x4d, 0x18}
	strangers = []struct {
		name  string
		magic []byte
	}{
		{"xz", []byte{0xfd, '7', 'z', 'X', 'Z', 0}},
		{"bzip2", []byte("BZh")},
		{"lz4", []byte{0x04, 0x22, 0x4d, 0x18}},
	}
)

// compressionOf looks at the first bytes; the name decides only if they say nothing.
func compressionOf(name string, head []byte) (compression, error) {
	switch {
	case bytes.HasPrefix(head, magicGzip):
		return gzipped, nil
	case bytes.HasPrefix(head, magicZstd), len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], magicSkip):
		return zstandard, nil
	}
	for _, s := range strangers {
		if bytes.HasPrefix(head, s.magic) {
			return notCompressed, fmt.Errorf("compressed with %s, which is not supported (gzip and zstd are)", s.name)
		}
	}
	return suffixCompression(name), nil
}

func suffixCompression(name string) compression {
	switch {
	case strings.HasSuffix(name, ".gz"):
		return gzipped
	case strings.HasSuffix(name, ".zst"):
		return zstandard
	}
	return notCompressed
}

// decompressor gives the text of r. The returned function frees what it holds.
func decompressor(r *bufio.Reader, c compression) (io.Reader, func(), error) {
	switch c {
	case gzipped:
		z, err := gzip.NewReader(r)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // an empty file is no archive
		}
		if err != nil {
			return nil, nil, fmt.Errorf("gzip: %w", err)
		}
		return z, func() { _ = z.Close() }, nil // Close only repeats an error that Read gave
	case zstandard:
		if _, err := r.Peek(1); err != nil {
			return nil, nil, fmt.Errorf("zstd: %w", io.ErrUnexpectedEOF)
		}
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("zstd: %w", err)
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// counted counts the bytes read through it.
type counted struct {
	r io.Reader
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err //nolint:wrapcheck // io.EOF must pass as it is.
}

// chunk is what a readAhead read in one go, and the error that ended it.
type chunk struct {
	buf []byte
	err error
}

// readAhead runs a slow reader (a decompressor, a pipe) in a goroutine of its own, at most aheadChunks chunks ahead.
type readAhead struct {
	ready chan chunk
	free  chan []byte
	stop  chan struct{}
	ended chan struct{}
	// closed ends a waiting read together with the Source.
	closed <-chan struct{}
	// unblock ends a read of the goroutine that may wait for a peer; nil if it never waits.
	unblock func()
	once    sync.Once

	last chunk // what is being handed out
	rest []byte
}

// newReadAhead starts reading what open gives. With fill it hands over well-filled chunks, without it whatever there is.
// notify is called when something new is there.
func newReadAhead(open func() (io.Reader, func(), error), fill bool, unblock func(), closed <-chan struct{}, notify func()) *readAhead {
	a := &readAhead{
		ready: make(chan chunk, aheadChunks), free: make(chan []byte, aheadChunks),
		stop: make(chan struct{}), ended: make(chan struct{}), closed: closed, unblock: unblock,
	}
	for range aheadChunks {
		a.free <- nil // made when first needed
	}
	go a.run(open, fill, notify)
	return a
}

func (a *readAhead) run(open func() (io.Reader, func(), error), fill bool, notify func()) {
	defer close(a.ended)
	r, done, err := open()
	if err == nil {
		defer done()
	}
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.stop:
			return
		}
		if buf == nil {
			buf = make([]byte, aheadSize)
		}
		n := 0
		for err == nil && n < len(buf) {
			var m int
			m, err = r.Read(buf[n:])
			n += m
			if n > 0 && !fill || n > len(buf)/2 {
				break
			}
			select {
			case <-a.stop:
				return
			default:
			}
		}
		a.ready <- chunk{buf: buf[:n], err: err} // never blocks: as many places as buffers
		notify()
		if err != nil {
			return
		}
	}
}

func (a *readAhead) read(ctx context.Context, p []byte, wait bool) (int, error) {
	for len(a.rest) == 0 {
		if a.last.err != nil {
			return 0, a.last.err
		}
		if a.last.buf != nil {
			a.free <- a.last.buf[:cap(a.last.buf)]
			a.last.buf = nil
		}
		select {
		case a.last = <-a.ready:
		default:
			if !wait {
				return 0, nil
			}
			select {
			case a.last = <-a.ready:
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-a.closed:
				return 0, ErrClosed
			}
		}
		a.rest = a.last.buf
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

func (a *readAhead) close() error {
	a.once.Do(func() {
		close(a.stop)
		if a.unblock != nil {
			a.unblock() // the goroutine may still wait for its peer; it ends when that writes or goes
			return
		}
		<-a.ended
	})
	return nil
}

// opened is a file at its beginning.
type opened struct {
	in      input
	file    *os.File
	info    fs.FileInfo
	archive bool
}

// openRegular opens a regular file and finds out whether it is an archive. The error holds the reason without the
// file's name.
func openRegular(path string) (*os.File, fs.FileInfo, compression, error) {
	info, err := os.Stat(path) // before opening, which would wait for the writer of a pipe
	if err != nil {
		return nil, nil, 0, reason(err)
	}
	if info.IsDir() {
		return nil, nil, 0, errDirectory
	}
	if !info.Mode().IsRegular() {
		return nil, nil, 0, errNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, 0, reason(err)
	}
	var c compression
	if info, err = f.Stat(); err == nil { // the name may have moved on
		var magic [magicLen]byte
		var n int
		if n, err = f.ReadAt(magic[:], 0); err == nil || errors.Is(err, io.EOF) {
			c, err = compressionOf(path, magic[:n])
		}
	}
	if err != nil {
		_ = f.Close() // the first error counts
		return nil, nil, 0, reason(err)
	}
	return f, info, c, nil
}

// openFile opens a regular file for reading.
func (s *Source) openFile(path string) (*opened, error) {
	f, info, c, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	if c == notCompressed {
		return &opened{in: plainFile{f, &s.done}, file: f, info: info}, nil
	}
	open := func() (io.Reader, func(), error) {
		return decompressor(bufio.NewReaderSize(counted{f, &s.done}, rawSize), c)
	}
	a := newReadAhead(open, true, nil, s.closed, s.notify)
	return &opened{in: archiveFile{a, f}, file: f, info: info, archive: true}, nil
}

// archiveFile closes the file after its decompressor has stopped.
type archiveFile struct {
	*readAhead
	f *os.File
}

func (a archiveFile) close() error {
	_ = a.readAhead.close() // always nil
	return a.f.Close()
}

// openPipe reads a named pipe or a device. Opening one may wait for a writer, so that is left to the goroutine.
func (s *Source) openPipe(path string) input {
	var mu sync.Mutex
	var f *os.File
	var stopped bool
	open := func() (io.Reader, func(), error) {
		p, err := os.Open(path)
		if err != nil {
			return nil, nil, reason(err)
		}
		mu.Lock()
		defer mu.Unlock()
		f = p
		if stopped {
			_ = p.Close() // nobody reads any more
		}
		r, done, err := s.detect(p, path)
		if err != nil {
			_ = p.Close() // the first error counts
			return nil, nil, err
		}
		return r, func() { done(); _ = p.Close() }, nil // a pipe has no state that closing could lose
	}
	return newReadAhead(open, false, func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		if f != nil {
			_ = f.Close() // ends a waiting read
		}
	}, s.closed, s.notify)
}

// openStream reads an open stream such as standard input.
func (s *Source) openStream(r io.Reader) input {
	open := func() (io.Reader, func(), error) { return s.detect(r, "") }
	return newReadAhead(open, false, func() {
		if c, ok := r.(io.Closer); ok {
			_ = c.Close() // ends a waiting read
		}
	}, s.closed, s.notify)
}

// detect finds out by the first bytes whether a stream is compressed.
func (s *Source) detect(r io.Reader, name string) (io.Reader, func(), error) {
	b := bufio.NewReaderSize(counted{r, &s.done}, rawSize)
	head, err := b.Peek(1)
	if err == nil && (head[0] < ' ' && head[0] != '\n' || head[0] > '~' || head[0] == 'B' || head[0] == '(' || head[0]&0xf0 == 0x50) {
		head, err = b.Peek(magicLen) // only now: a first short line must not wait for a second
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, reason(err)
	}
	c, err := compressionOf(name, head)
	if err != nil {
		return nil, nil, err
	}
	return decompressor(b, c)
}

// reason takes the path out of an error of package os, as the caller names the file.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
