package memory

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/enrich"
)

// The snapshot: magic, version (uint32), length of the head (uint32), head as JSON, number of suspects (uint64), the
// suspects, since version 2 four times the number of connections (uint64) and the connections (running ones, then ended
// ones; of each the old generation first), CRC-32C of everything before. Numbers are little endian.
const (
	snapshotMagic   = "MINECANARY-STATE"
	snapshotVersion = 2
	// oldestVersion is the oldest that is read.
	oldestVersion = 1
	// maxHead bounds the head: positions, sensors, verdicts.
	maxHead = 1 << 30
)

// ErrSnapshot is wrapped by Load when the file is not a whole snapshot of a version we know.
var ErrSnapshot = errors.New("not a usable snapshot")

// head is the part of a snapshot that is small and may grow fields.
type head struct {
	Positions map[string]minecanary.Position `json:"positions"`
	Sensors   []string                       `json:"sensors"`
	Verdicts  []minecanary.Verdict           `json:"verdicts"`
	Stats     enrich.StoreStats              `json:"stats"`
	// Running and Ended are the latest ends of connections (see rowConnection).
	Running ends `json:"running,omitzero"`
	Ended   ends `json:"ended,omitzero"`
}

// Rows have fixed sizes, as written by encoding/binary.
type rowHead struct {
	Key      key
	Marked   bool
	Segments uint16
}

type rowSegment struct {
	Aggregate     minecanary.Aggregate
	Window        enrich.Window
	UID           minecanary.UID
	ClientPort    uint16
	Sensor        uint16
	Reports, Told uint8
	Closed        bool
}

type rowConnection struct {
	Connection connection
	Totals     totals
}

// Save implements enrich.Store: the snapshot is replaced as a whole, by rename, after it has reached the disk. Whoever is
// killed finds the old or the new one.
func (s *Store) Save(ctx context.Context) error {
	if s.cfg.File == "" {
		return nil
	}
	if err := replace(s.cfg.File, func(w io.Writer) error { return s.write(ctx, w) }); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}

// replace puts what write writes in the place of a file, so that a reader, and a machine after a power cut, has the old
// file or the new one.
func replace(path string, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	if err := write(tmp); err != nil {
		return errors.Join(err, tmp.Close())
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *Store) write(ctx context.Context, to io.Writer) error {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	w := bufio.NewWriterSize(io.MultiWriter(to, sum), 1<<16)
	verdicts, err := s.Verdicts(ctx)
	if err != nil {
		return err
	}
	h, err := json.Marshal(head{
		Positions: s.positions, Sensors: s.sensors, Verdicts: verdicts, Stats: s.Stats(),
		Running: s.connections.running.last, Ended: s.connections.ended.last,
	})
	if err != nil {
		return err
	}
	b := append([]byte(nil), snapshotMagic...)
	b = binary.LittleEndian.AppendUint32(b, snapshotVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(h)))
	b = append(b, h...)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.suspects.used))
	for n := range s.suspects.len() {
		row := s.suspects.at(n)
		if row.flags&flagUsed == 0 {
			continue
		}
		rh := rowHead{Key: row.key, Marked: row.flags&flagMarked != 0}
		for i := row.head; i != none; i = s.segments.at(i).next {
			rh.Segments++
		}
		if b, err = binary.Append(b, binary.LittleEndian, &rh); err != nil {
			return err
		}
		for i := row.head; i != none; i = s.segments.at(i).next {
			seg := s.segments.at(i)
			rs := rowSegment{
				Aggregate: seg.aggregate, Window: seg.window, UID: seg.uid, ClientPort: seg.clientPort, Sensor: seg.sensor,
				Reports: seg.reports, Told: seg.told, Closed: seg.closed,
			}
			if b, err = binary.Append(b, binary.LittleEndian, &rs); err != nil {
				return err
			}
		}
		if len(b) > 1<<15 {
			if _, err := w.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	for _, table := range s.connections.tables() {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(table)))
		for c, t := range table {
			if b, err = binary.Append(b, binary.LittleEndian, &rowConnection{c, t}); err != nil {
				return err
			}
			if len(b) > 1<<15 {
				if _, err := w.Write(b); err != nil {
					return err
				}
				b = b[:0]
			}
		}
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = to.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32()))
	return err
}

// Peek fills an empty store from its snapshot, which must exist. It changes nothing on disk, so it may look at the state
// of a running service.
func (s *Store) Peek() error {
	f, err := os.Open(s.cfg.File)
	if err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	err = s.read(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("load state: %s: %w", s.cfg.File, err)
	}
	return nil
}

// Load fills an empty store from its snapshot; a file that does not exist is an empty state. What a killed Save left
// half-written is removed. A damaged snapshot, or one of a newer version, is an error: starting over silently would
// forget verdicts and count records again.
func (s *Store) Load(context.Context) error {
	if s.cfg.File == "" {
		return nil
	}
	leftovers, err := filepath.Glob(filepath.Join(filepath.Dir(s.cfg.File), "."+filepath.Base(s.cfg.File)+".*"))
	if err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	for _, name := range leftovers {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("load state: %w", err)
		}
	}
	if err := s.Peek(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sumReader hashes what is read through it.
type sumReader struct {
	r   io.Reader
	sum hash.Hash32
}

func (r *sumReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.sum.Write(p[:n])
	return n, err
}

func (s *Store) read(from io.Reader) error {
	buffered := bufio.NewReaderSize(from, 1<<16)
	r := &sumReader{buffered, crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	fixed := make([]byte, len(snapshotMagic)+8)
	if _, err := io.ReadFull(r, fixed); err != nil || string(fixed[:len(snapshotMagic)]) != snapshotMagic {
		return ErrSnapshot
	}
	version := binary.LittleEndian.Uint32(fixed[len(snapshotMagic):])
	if version < oldestVersion || version > snapshotVersion {
		return fmt.Errorf("%w: version %d, this program knows %d to %d", ErrSnapshot, version, oldestVersion, snapshotVersion)
	}
	size := binary.LittleEndian.Uint32(fixed[len(snapshotMagic)+4:])
	if size > maxHead {
		return fmt.Errorf("%w: head of %d bytes", ErrSnapshot, size)
	}
	raw, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err != nil || len(raw) != int(size) {
		return fmt.Errorf("%w: cut off", ErrSnapshot)
	}
	var h head
	if err := json.Unmarshal(raw, &h); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	var count uint64
	if err := binary.Read(r, binary.LittleEndian, &count); err != nil {
		return fmt.Errorf("%w: cut off", ErrSnapshot)
	}
	rowBuf := make([]byte, binary.Size(rowHead{}))
	segBuf := make([]byte, binary.Size(rowSegment{}))
	for range count {
		var rh rowHead
		if err := readInto(r, rowBuf, &rh); err != nil {
			return err
		}
		if rh.Segments == 0 || rh.Segments > MaxSegments {
			return fmt.Errorf("%w: a suspect with %d segments", ErrSnapshot, rh.Segments)
		}
		n := s.find(&rh.Key, true)
		row := s.suspects.at(n)
		if rh.Marked {
			row.flags |= flagMarked
		}
		for range rh.Segments {
			var rs rowSegment
			if err := readInto(r, segBuf, &rs); err != nil {
				return err
			}
			if rs.Aggregate.Records == 0 {
				return fmt.Errorf("%w: an empty segment", ErrSnapshot)
			}
			// The window is found anew, as the configured length may have changed since.
			seg := segment{
				aggregate: rs.Aggregate, window: enrich.Window(rs.Aggregate.Last / s.report), next: none,
				uid: rs.UID, clientPort: rs.ClientPort, reports: rs.Reports, told: rs.Told, closed: rs.Closed,
			}
			if int(rs.Sensor) < len(h.Sensors) {
				seg.sensor = s.sensor(h.Sensors[rs.Sensor])
			}
			s.insert(row, seg)
		}
	}
	if version >= 2 {
		if err := s.readConnections(r); err != nil {
			return err
		}
		s.connections.running.last, s.connections.ended.last = h.Running, h.Ended
		s.connections.running.shrink()
		s.connections.ended.shrink()
	}
	want := r.sum.Sum32()
	var got uint32
	if err := binary.Read(buffered, binary.LittleEndian, &got); err != nil || got != want {
		return fmt.Errorf("%w: checksum", ErrSnapshot)
	}
	if _, err := buffered.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more than a snapshot", ErrSnapshot)
	}
	maps.Copy(s.positions, h.Positions)
	for _, v := range h.Verdicts {
		if v.Endpoint.Addr.IsValid() {
			s.verdicts[v.Endpoint] = v
		}
	}
	s.stats, s.connections.leftOut = h.Stats, h.Stats.LeftOut
	return nil
}

func (s *Store) readConnections(r io.Reader) error {
	buf := make([]byte, binary.Size(rowConnection{}))
	for _, table := range s.connections.tables() {
		var count uint64
		if err := binary.Read(r, binary.LittleEndian, &count); err != nil {
			return fmt.Errorf("%w: cut off", ErrSnapshot)
		}
		for range count {
			var row rowConnection
			if err := readInto(r, buf, &row); err != nil {
				return err
			}
			table[row.Connection] = row.Totals
		}
	}
	return nil
}

func readInto(r io.Reader, buf []byte, to any) error {
	if _, err := io.ReadFull(r, buf); err != nil {
		return fmt.Errorf("%w: cut off", ErrSnapshot)
	}
	if _, err := binary.Decode(buf, binary.LittleEndian, to); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return nil
}
