package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"os"
	"slices"
)

// The layout of a bbolt file, as its packages internal/common and db.go of v1.5.0 write it, in the byte order of the
// machine. Pages begin with id (8 bytes), flags (2), count (2) and overflow (4: how many pages more belong to it).
const (
	pageHeader = 16
	// element is the length of what describes one key: in a leaf flags, position, length of the key and of the value (4
	// each), in a branch position, length of the key (4 each) and page (8).
	element = 16

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
	flagBucket   = 0x01 // of an element of a leaf: its value is a bucket

	// A meta page has behind its header: magic, version, page size, flags (4 each), root page, sequence, page of the free
	// list, number of pages, transaction (8 each), FNV-1a of all that (8).
	metaLen     = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	minPage     = 1 << 10
	maxPage     = 1 << 16

	// bucketHead is root page and sequence (8 each); with root page 0 the bucket's only page follows.
	bucketHead = 16
	// manyFree as the count of a free list says that the real count comes first in it.
	manyFree = 0xFFFF
	// maxDepth bounds the tree; with two keys in each page it would hold more than a disk.
	maxDepth = 40
)

// Verify checks a file, for instance a backup, without changing it: every page is reached once or free, all keys are in
// order, and every value has its checksum. The error wraps ErrDamaged. The file must not be in use by another process; of
// an open history use Check.
func Verify(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("verify history: %w", err)
	}
	if err := verifyFile(f); err != nil {
		return errors.Join(fmt.Errorf("verify history %s: %w", path, err), f.Close())
	}
	return f.Close()
}

func verifyFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return verify(f, info.Size())
}

// verify walks a file of the given size.
func verify(r io.ReaderAt, size int64) error {
	w := walker{r: r, size: size}
	if err := w.walk(); err != nil {
		return fmt.Errorf("%w: %w; %s", ErrDamaged, err, restore)
	}
	return nil
}

// walker reads a file page by page and trusts nothing in it.
type walker struct {
	r     io.ReaderAt
	size  int64
	page  int64  // bytes
	pages uint64 // in use or free
	seen  []bool
	// spare has a buffer for each depth.
	spare [maxDepth][]byte
}

var native = binary.NativeEndian

type meta struct{ page, root, free, pages, tx uint64 }

// meta reads the meta page at an offset.
func (w *walker) meta(off int64) (meta, error) {
	var b [pageHeader + metaLen]byte
	if _, err := w.r.ReadAt(b[:], off); err != nil {
		return meta{}, fmt.Errorf("meta page at %d: %w", off, err)
	}
	m := b[pageHeader:]
	h := fnv.New64a()
	_, _ = h.Write(m[:metaLen-8]) // a hash never fails
	switch {
	case native.Uint32(m) != metaMagic:
		return meta{}, fmt.Errorf("the meta page at %d is not of such a file", off)
	case native.Uint32(m[4:]) != metaVersion:
		return meta{}, fmt.Errorf("the meta page at %d has version %d", off, native.Uint32(m[4:]))
	case native.Uint64(m[metaLen-8:]) != h.Sum64():
		return meta{}, fmt.Errorf("the meta page at %d has another checksum", off)
	}
	return meta{
		page: uint64(native.Uint32(m[8:])), root: native.Uint64(m[16:]), free: native.Uint64(m[32:]),
		pages: native.Uint64(m[40:]), tx: native.Uint64(m[48:]),
	}, nil
}

func (w *walker) walk() error {
	m, err := w.meta(0)
	if err != nil {
		return err
	}
	if m.page < minPage || m.page > maxPage {
		return fmt.Errorf("pages of %d bytes", m.page)
	}
	w.page = int64(m.page)
	// bbolt would take the older meta page if the newer is broken, and with it lose a transaction that was acknowledged.
	other, err := w.meta(w.page)
	if err != nil {
		return err
	}
	if other.page != m.page {
		return errors.New("the meta pages disagree")
	}
	if other.tx > m.tx {
		m = other
	}
	w.pages = m.pages
	if w.pages < 4 || w.pages > uint64(w.size/w.page) {
		return fmt.Errorf("%d pages of %d bytes, in a file of %d bytes", w.pages, w.page, w.size)
	}
	w.seen = make([]bool, w.pages)
	w.seen[0], w.seen[1] = true, true
	if err := w.freelist(m.free); err != nil {
		return err
	}
	if err := w.root(m.root); err != nil {
		return err
	}
	if i := slices.Index(w.seen, false); i >= 0 {
		return fmt.Errorf("page %d is neither in use nor free", i)
	}
	return nil
}

// mark notes that a page was reached.
func (w *walker) mark(id uint64) error {
	if id >= w.pages {
		return fmt.Errorf("page %d is behind the last one", id)
	}
	if w.seen[id] {
		return fmt.Errorf("page %d is used twice", id)
	}
	w.seen[id] = true
	return nil
}

// read gives a page with those that belong to it; the bytes live until the next read of that depth.
func (w *walker) read(id uint64, depth int) ([]byte, error) {
	if depth >= maxDepth {
		return nil, errors.New("the tree is too deep")
	}
	if err := w.mark(id); err != nil {
		return nil, err
	}
	b := w.buffer(depth, w.page)
	if _, err := w.r.ReadAt(b, int64(id)*w.page); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	if native.Uint64(b) != id {
		return nil, fmt.Errorf("page %d says that it is %d", id, native.Uint64(b))
	}
	more := uint64(native.Uint32(b[12:]))
	if more == 0 {
		return b, nil
	}
	if more > w.pages-id-1 {
		return nil, fmt.Errorf("page %d goes on behind the last one", id)
	}
	for i := range more {
		if err := w.mark(id + 1 + i); err != nil {
			return nil, err
		}
	}
	b = w.buffer(depth, w.page*int64(more+1))
	if _, err := w.r.ReadAt(b, int64(id)*w.page); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return b, nil
}

func (w *walker) buffer(depth int, n int64) []byte {
	if int64(cap(w.spare[depth])) < n {
		w.spare[depth] = make([]byte, n)
	}
	return w.spare[depth][:n]
}

func (w *walker) freelist(id uint64) error {
	if id == math.MaxUint64 {
		return errors.New("it has no list of free pages")
	}
	b, err := w.read(id, 0)
	if err != nil {
		return err
	}
	if native.Uint16(b[8:]) != flagFreelist {
		return fmt.Errorf("page %d is no list of free pages", id)
	}
	count, ids := uint64(native.Uint16(b[10:])), b[pageHeader:]
	if count == manyFree {
		count, ids = native.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return fmt.Errorf("page %d lists more free pages than fit in", id)
	}
	for i := range count {
		if err := w.mark(native.Uint64(ids[i*8:])); err != nil {
			return fmt.Errorf("the list of free pages: %w", err)
		}
	}
	return nil
}

// item is one key of a page: of a leaf with flags and value, of a branch with the page below.
type item struct {
	key, value []byte
	flags      uint32
	child      uint64
}

// items takes a page apart. bbolt writes keys and values one behind the other without a gap: what does not stand so is
// damage, which shows a count that has changed. end is where the last one ends.
func items(b []byte) (list []item, leaf bool, end int, err error) {
	flags := native.Uint16(b[8:])
	leaf = flags == flagLeaf
	if !leaf && flags != flagBranch {
		return nil, false, 0, errors.New("is neither leaf nor branch")
	}
	count := int(native.Uint16(b[10:]))
	end = pageHeader + count*element
	if end > len(b) {
		return nil, false, 0, errors.New("has more keys than fit in")
	}
	list = make([]item, count)
	for i := range list {
		at := pageHeader + i*element
		e := b[at : at+element]
		var it item
		pos, keyLen, valueLen := native.Uint32(e), native.Uint32(e[4:]), uint32(0)
		if leaf {
			it.flags, pos, keyLen, valueLen = native.Uint32(e), native.Uint32(e[4:]), native.Uint32(e[8:]), native.Uint32(e[12:])
		} else {
			it.child = native.Uint64(e[8:])
		}
		if uint64(at)+uint64(pos) != uint64(end) || keyLen == 0 || uint64(end)+uint64(keyLen)+uint64(valueLen) > uint64(len(b)) {
			return nil, false, 0, fmt.Errorf("has key %d at a wrong place", i)
		}
		it.key = b[end : end+int(keyLen)]
		end += int(keyLen)
		it.value = b[end : end+int(valueLen)]
		end += int(valueLen)
		list[i] = it
	}
	if count == 0 && slices.ContainsFunc(b[end:], func(c byte) bool { return c != 0 }) {
		return nil, false, 0, errors.New("says that it is empty, and is not")
	}
	return list, leaf, end, nil
}

// root walks the bucket of buckets and those.
func (w *walker) root(id uint64) error {
	var found []byte
	err := w.tree(id, 0, nil, nil, func(it item) error {
		if it.flags != flagBucket || len(it.key) != 1 || !bytes.Contains(buckets, it.key) || len(it.value) < bucketHead {
			return errors.New("has a bucket that is none of ours")
		}
		name := it.key[0]
		found = append(found, name)
		leaf := func(it item) error {
			if it.flags != 0 {
				return fmt.Errorf("has a bucket inside of bucket %c", name)
			}
			if _, ok := checked(name, it.key, it.value); !ok {
				return fmt.Errorf("has a value of bucket %c with another checksum", name)
			}
			return nil
		}
		if root := native.Uint64(it.value); root != 0 {
			if len(it.value) != bucketHead {
				return fmt.Errorf("has a bucket %c of a wrong length", name)
			}
			return w.tree(root, 1, nil, nil, leaf)
		}
		return inline(it.value[bucketHead:], leaf)
	})
	if err == nil && len(found) != len(buckets) {
		err = fmt.Errorf("%d of %d buckets are there", len(found), len(buckets))
	}
	return err
}

// inline walks the only page of a small bucket.
func inline(b []byte, fn func(item) error) error {
	if len(b) < pageHeader || native.Uint64(b) != 0 || native.Uint32(b[12:]) != 0 {
		return errors.New("has a small bucket that is none")
	}
	list, leaf, end, err := items(b)
	if err != nil {
		return err
	}
	if !leaf || end != len(b) {
		return errors.New("has a small bucket that is none")
	}
	return ordered(list, nil, nil, fn)
}

// ordered calls fn for the items of a leaf, whose keys must rise from low on and be below high; nil is no bound.
func ordered(list []item, low, high []byte, fn func(item) error) error {
	for i, it := range list {
		if i == 0 && low != nil && bytes.Compare(it.key, low) < 0 || i > 0 && bytes.Compare(it.key, list[i-1].key) <= 0 ||
			high != nil && bytes.Compare(it.key, high) >= 0 {
			return fmt.Errorf("has key %d out of order", i)
		}
		if fn == nil {
			continue
		}
		if err := fn(it); err != nil {
			return err
		}
	}
	return nil
}

// tree walks a page and those below it. Buffers are by depth, and the root's leaves live while their buckets are walked, so
// depth goes on counting there.
func (w *walker) tree(id uint64, depth int, low, high []byte, fn func(item) error) error {
	b, err := w.read(id, depth)
	if err != nil {
		return err
	}
	list, leaf, _, err := items(b)
	if err == nil && leaf {
		err = ordered(list, low, high, fn)
	} else if err == nil && len(list) == 0 {
		err = errors.New("is a branch without pages")
	} else if err == nil {
		err = ordered(list, low, high, nil)
	}
	if err != nil {
		return fmt.Errorf("page %d %w", id, err)
	}
	if leaf {
		return nil
	}
	for i, it := range list {
		below := high
		if i+1 < len(list) {
			below = list[i+1].key
		}
		if err := w.tree(it.child, depth+1, it.key, below, fn); err != nil {
			return err
		}
	}
	return nil
}
