// Package ndjson is the sink that writes hits as lines of JSON, to a file or a stream.
package ndjson

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich/ecs"
)

// recallBytes is how much of the end of an existing file is read for ids when a file sink opens: what a killed process
// had written after its last snapshot is not written twice. It holds some 25,000 hits, and a snapshot is seconds old.
const recallBytes = 64 << 20

// Stream writes hits to a writer.
type Stream struct {
	w *bufio.Writer
}

// NewStream gives a sink on w.
func NewStream(w io.Writer) *Stream { return &Stream{bufio.NewWriter(w)} }

// Write implements enrich.Sink.
func (s *Stream) Write(_ context.Context, hits []minecanary.Hit) error {
	for i := range hits {
		b, err := encode(&hits[i])
		if err != nil {
			return err
		}
		if _, err := s.w.Write(b); err != nil {
			return err
		}
	}
	return s.w.Flush()
}

// Flush implements enrich.Sink.
func (s *Stream) Flush(context.Context) error { return s.w.Flush() }

// encode gives a hit's line.
func encode(h *minecanary.Hit) ([]byte, error) {
	b, err := ecs.Encode(ecs.New(h))
	if err != nil {
		return nil, fmt.Errorf("encode hit %s: %w", h.ID(), err)
	}
	return append(b, '\n'), nil
}

// File appends hits to a file and never writes the same report twice, whatever is killed.
type File struct {
	f       *os.File
	regular bool
	seen    map[report]struct{}
}

// report is what makes a line unique: event.id, event.sequence and what it says.
type report struct {
	ID       string `json:"id"`
	Sequence uint32 `json:"sequence"`
	Action   string `json:"action"`
}

// maxSeen bounds the reports that are remembered.
const maxSeen = 200_000

// Open opens or creates the file (mode 0640) and goes on where it ends: what it tells already is not told again. A last
// line without its newline was cut off by a crash and is removed; the hit will be written again.
func Open(name string) (*File, error) { return open(name, true) }

// Append opens or creates the file likewise, and tells everything anew: another run may have come to another result.
func Append(name string) (*File, error) { return open(name, false) }

func open(name string, recall bool) (*File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open hits file: %w", err)
	}
	s := &File{f: f, seen: map[report]struct{}{}}
	if err := s.recall(); err != nil {
		return nil, errors.Join(fmt.Errorf("read hits file %s: %w", name, err), f.Close())
	}
	if !recall {
		clear(s.seen)
	}
	return s, nil
}

// recall reads the end of the file.
func (s *File) recall() error {
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	s.regular = true
	from := max(0, info.Size()-recallBytes)
	tail := make([]byte, info.Size()-from)
	if _, err := io.ReadFull(io.NewSectionReader(s.f, from, info.Size()-from), tail); err != nil {
		return err
	}
	if from > 0 {
		tail = tail[bytes.IndexByte(tail, '\n')+1:]
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	whole := info.Size() - int64(len(tail)-end)
	if whole < info.Size() {
		if err := s.f.Truncate(whole); err != nil {
			return err
		}
	}
	for line := range bytes.Lines(tail[:end]) {
		var doc struct {
			Event report `json:"event"`
		}
		if json.Unmarshal(line, &doc) == nil && doc.Event.ID != "" {
			s.seen[doc.Event] = struct{}{}
		}
	}
	return nil
}

// Write implements enrich.Sink: one write call for all lines.
func (s *File) Write(_ context.Context, hits []minecanary.Hit) error {
	var buf []byte
	for i := range hits {
		id := report{hits[i].ID(), hits[i].Sequence, ecs.Action(hits[i].Status)}
		if _, ok := s.seen[id]; ok {
			continue
		}
		if len(s.seen) < maxSeen {
			s.seen[id] = struct{}{}
		}
		b, err := encode(&hits[i])
		if err != nil {
			return err
		}
		buf = append(buf, b...)
	}
	if len(buf) == 0 {
		return nil
	}
	_, err := s.f.Write(buf)
	return err
}

// Flush implements enrich.Sink: the lines reach the disk.
func (s *File) Flush(context.Context) error {
	if !s.regular {
		return nil // a pipe or a terminal has no disk
	}
	return s.f.Sync()
}

// Close closes the file.
func (s *File) Close() error { return s.f.Close() }
