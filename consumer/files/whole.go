package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/minecanary/minecanary/consumer"
)

// firstGeneration is the number of the first file at a path, so that the zero Position lies before all others.
const firstGeneration = 1

// errOther says that a file is not the one that was looked for.
var errOther = errors.New("another file")

// reader reads one generation of a partition.
type reader struct {
	src             *Source
	partition, name string
	gen             uint64
	id              fileID
	split           splitter
	began           bool // a batch was handed over
	preface         []byte

	ident    string
	identLen int // of the head when ident was made; -1 for never
}

// batch dresses a piece.
func (r *reader) batch(p *piece) consumer.Batch {
	if n := len(r.split.head); r.ident == "" || n != r.identLen {
		r.ident, r.identLen = ident{r.id, sumOf(r.split.head)}.String(), n
	}
	b := consumer.Batch{
		Partition: r.partition, Name: r.name, Data: p.data, FirstLine: p.line, LineStart: p.start,
		From:         consumer.Position{Generation: r.gen, Offset: p.start, Ident: r.ident},
		Next:         consumer.Position{Generation: r.gen, Offset: p.next, Ident: r.ident},
		NewFile:      !r.began,
		EOF:          p.last,
		TooLongLines: p.tooLong,
	}
	if !r.began {
		r.began, b.Header = true, r.preface
	}
	return b
}

// seek goes to an offset of a file at its beginning, if its head is the one wanted; errOther if not. With line 0 the
// lines before are counted, if that is cheap.
func (r *reader) seek(ctx context.Context, o *opened, path string, off, line int64, want headSum) error {
	r.split.in, r.split.line = o.in, 1
	if off == 0 {
		return nil
	}
	info, head, err := headOf(path)
	if err != nil {
		return err
	}
	if !os.SameFile(info, o.info) || !want.matches(head) || !o.archive && info.Size() < off {
		return errOther
	}
	r.split.head = head
	if !o.archive {
		if line > 0 || off > maxCount {
			pre := make([]byte, min(off, maxPreface))
			n, err := o.file.ReadAt(pre, 0)
			if err != nil && !errors.Is(err, io.EOF) {
				return reason(err)
			}
			r.preface = preface(pre[:n])
			if _, err := o.file.Seek(off, io.SeekStart); err != nil {
				return reason(err)
			}
			r.split.setOffset(off, line)
			return nil
		}
	}
	lines, err := r.discard(ctx, off)
	if errors.Is(err, io.EOF) {
		return errOther
	}
	if err != nil {
		return err
	}
	r.split.setOffset(off, lines+1)
	return nil
}

// discard reads up to an offset and counts the lines.
func (r *reader) discard(ctx context.Context, off int64) (lines int64, err error) {
	buf, err := r.src.pool.get(ctx)
	if err != nil {
		return 0, err
	}
	defer r.src.pool.put(buf)
	var pre []byte
	for r.split.raw < off {
		if err := r.src.alive(ctx); err != nil {
			return 0, err
		}
		n, err := r.split.in.read(ctx, buf[:min(int64(cap(buf)), off-r.split.raw)], true)
		if n == 0 && err != nil {
			return 0, err
		}
		b := buf[:n]
		pre = append(pre, b[:min(n, maxPreface-len(pre))]...)
		lines += int64(bytes.Count(b, newline))
		r.split.note(b)
	}
	r.preface = append([]byte(nil), preface(pre)...)
	return lines, nil
}

// whole is an input that is read once to its end.
type whole struct {
	reader
	path   string
	start  consumer.Position
	opened bool
	ended  bool
	atEnd  *atomic.Bool
}

func (s *Source) newWhole(path, name string) *whole {
	return &whole{
		reader: reader{src: s, partition: path, name: name, gen: firstGeneration},
		path:   path, start: s.cfg.Start[path], atEnd: s.endFlag(path),
	}
}

// step gives the next batch; nil if nothing is there now, which with wait does not happen.
func (w *whole) step(ctx context.Context, wait bool) (*handed, error) {
	if !w.opened {
		if err := w.open(ctx); passing(err) {
			return nil, err
		} else if err != nil {
			return w.fail(err), nil
		}
	}
	buf, err := w.src.pool.get(ctx)
	if err != nil {
		return nil, err
	}
	p, buf, err := w.split.fill(ctx, buf, true, wait)
	if err == nil {
		h := &handed{w.batch(&p), buf}
		if p.last {
			w.end()
		}
		return h, nil
	}
	w.src.pool.put(buf)
	switch {
	case errors.Is(err, errIdle):
		w.src.idle = true
		return nil, nil
	case passing(err):
		return nil, err
	case errors.Is(err, io.EOF):
		return w.end(), nil
	}
	return w.fail(err), nil
}

// open begins the file where Config.Start says.
func (w *whole) open(ctx context.Context) error {
	if w.start.Generation > 0 {
		w.gen = w.start.Generation
	}
	if w.path == Stdin {
		w.stream(w.src.openStream(w.src.cfg.Stdin))
		return nil
	}
	id, known := parseIdent(w.start.Ident)
	for off := w.start.Offset; ; off = 0 {
		o, err := w.src.openFile(w.path)
		if errors.Is(err, errNotRegular) {
			w.stream(w.src.openPipe(w.path))
			return nil
		}
		if err != nil {
			return err
		}
		w.id = idOf(o.info)
		w.split = splitter{}
		if off > 0 && !known {
			err = errOther
		} else {
			err = w.seek(ctx, o, w.path, off, 0, id.head)
		}
		if err == nil {
			w.opened = true
			return nil
		}
		_ = o.in.close() // the first error counts
		if !errors.Is(err, errOther) || off == 0 {
			return err
		}
		w.gen = w.start.Generation + 1
		w.preface = nil
		w.src.report(w.partition, fmt.Errorf("read %s: not the file that was read before, begun from its start: %w", w.name, ErrMissed))
	}
}

// stream begins an input that cannot be the one that was read before.
func (w *whole) stream(in input) {
	if w.start.Generation > 0 {
		w.gen++
	}
	w.split.in, w.split.line, w.opened = in, 1, true
}

// end closes the input and gives the last batch, without data.
func (w *whole) end() *handed {
	w.ended = true
	w.close()
	w.atEnd.Store(true)
	p := piece{start: w.split.off, next: w.split.off, line: w.split.line, last: true}
	return &handed{batch: w.batch(&p)}
}

// fail reports why the input ends here.
func (w *whole) fail(err error) *handed {
	w.src.report(w.partition, fmt.Errorf("read %s: %w", w.name, err))
	return w.end()
}

func (w *whole) close() {
	if w.split.in != nil {
		_ = w.split.in.close() // it was only read
		w.split.in = nil
	}
}

// missing is what an error says of a path that cannot be looked at.
func missing(path string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: no such file", path)
	}
	return fmt.Errorf("%s: %w", path, reason(err))
}
