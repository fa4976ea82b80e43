package history

import (
	"bytes"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// pastFill is how full bbolt leaves a page of the past that it splits. Tracks grow at their ends, so what is before the
// split stays as it is.
const pastFill = 0.8

// observe puts one observation into a track: r.from is when it was made. merge makes the extra of a row that is extended;
// nil takes that of the new observation.
func (tx *Tx) observe(track []byte, r row, merge func(before, now []byte) ([]byte, error)) error {
	r.lastSeen, r.learnt = r.from, tx.learnt
	current, past := tx.bucket(bucketCurrent), tx.bucket(bucketPast)
	past.FillPercent = pastFill
	newest, found, err := tx.current(track)
	if err != nil {
		return err
	}
	before, isNewest, late := newest, found && r.from >= newest.from, found && r.from < newest.from
	if late {
		if before, found, err = tx.pastBefore(track, r.from); err != nil {
			return err
		}
	}
	if found && r.from <= before.lastSeen {
		if bytes.Equal(before.value, r.value) {
			return nil
		}
		key := disputedKey(track, r)
		if past.Get(key) != nil {
			return nil // since when it is known stays as it is
		}
		return put(past, bucketPast, key, r.encode())
	}
	if found && tx.joins(before, r) {
		extra := r.extra
		if merge != nil {
			if extra, err = merge(before.extra, r.extra); err != nil {
				return err
			}
		}
		joined := before
		joined.lastSeen, joined.extra = r.from, extra
		if isNewest {
			return put(current, bucketCurrent, track, joined.encode())
		}
		return put(past, bucketPast, appendTime(bytes.Clone(track), joined.from), joined.encode())
	}
	if late {
		return put(past, bucketPast, appendTime(bytes.Clone(track), r.from), r.encode())
	}
	if isNewest {
		if err := put(past, bucketPast, appendTime(bytes.Clone(track), newest.from), newest.encode()); err != nil {
			return err
		}
	}
	return put(current, bucketCurrent, track, r.encode())
}

// joins tells whether an observation makes the row before it longer. For every question "as known at" the answer must be
// the same as if both had been kept: until the observation is learnt, the row must hold anyway, or not be known itself.
func (tx *Tx) joins(before, r row) bool {
	return bytes.Equal(before.value, r.value) && r.from-before.lastSeen <= tx.gap &&
		(r.learnt == before.learnt || r.learnt <= before.lastSeen+tx.gap)
}

// disputedKey is where a disputed observation is kept: the same one comes to the same place.
func disputedKey(track []byte, r row) []byte {
	key := bytes.Clone(track)
	key[len(key)-1] |= trackDisputed
	key = appendTime(key, r.from)
	s := sum(bucketPast, nil, r.value)
	return append(key, byte(s>>24), byte(s>>16), byte(s>>8), byte(s))
}

// current reads the newest row of a track; its bytes live as long as the transaction.
func (v *View) current(track []byte) (row, bool, error) {
	b, err := get(v.bucket(bucketCurrent), bucketCurrent, track)
	if err != nil || b == nil {
		return row{}, false, err
	}
	r, err := decodeRow(b)
	return r, true, err
}

// readPast reads the row of a key and value of bucketPast.
func readPast(key, stored []byte) (row, error) {
	b, err := opened(bucketPast, key, stored)
	if err != nil {
		return row{}, err
	}
	return decodeRow(b)
}

// pastBefore finds the last row in the past that began at t or before.
func (v *View) pastBefore(track []byte, t int64) (row, bool, error) {
	c := v.bucket(bucketPast).Cursor()
	key, stored := seekBefore(c, track, t)
	if key == nil {
		return row{}, false, nil
	}
	r, err := readPast(key, stored)
	return r, true, err
}

// seekBefore moves a cursor to the last row of a track that began at t or before; the key is nil if there is none.
func seekBefore(c *bolt.Cursor, track []byte, t int64) (key, stored []byte) {
	key, _ = c.Seek(appendTime(bytes.Clone(track), t+1))
	if key == nil {
		key, stored = c.Last()
	} else {
		key, stored = c.Prev()
	}
	if !bytes.HasPrefix(key, track) {
		return nil, nil
	}
	return key, stored
}

// held is a row as it is known at some time, and when it ends.
type held struct {
	row
	until int64
}

// at finds the row that holds at time t as known at time known.
func (v *View) at(track []byte, t, known int64) (held, bool, error) {
	t = min(t, known)
	newest, found, err := v.current(track)
	if err != nil || !found {
		return held{}, false, err
	}
	if newest.learnt <= known && newest.from <= t {
		return v.holds(newest, t, known, noTime)
	}
	next := int64(noTime)
	if newest.learnt <= known {
		next = newest.from
	}
	c := v.bucket(bucketPast).Cursor()
	for key, stored := c.Seek(appendTime(bytes.Clone(track), t+1)); bytes.HasPrefix(key, track); key, stored = c.Next() {
		r, err := readPast(key, stored)
		if err != nil {
			return held{}, false, err
		}
		if r.learnt <= known {
			next = r.from
			break
		}
	}
	for key, stored := seekBefore(c, track, t); bytes.HasPrefix(key, track); key, stored = c.Prev() {
		r, err := readPast(key, stored)
		if err != nil {
			return held{}, false, err
		}
		if r.learnt <= known {
			return v.holds(r, t, known, next)
		}
	}
	return held{}, false, nil
}

// holds tells whether a row, which is the last one that began before t, still holds then.
func (v *View) holds(r row, t, known, next int64) (held, bool, error) {
	h := v.held(r, known, next)
	return h, t < h.until, nil
}

// held is a row as known at some time; next is when the row after it begins.
func (v *View) held(r row, known, next int64) held {
	r.lastSeen = max(r.from, min(r.lastSeen, known))
	return held{row: r, until: min(next, r.lastSeen+v.gap)}
}

// all lists the rows of a track as known at some time, the newest at most limit, the oldest first. Disputed ones are among
// them by their time.
func (v *View) all(track []byte, known int64, limit int) ([]held, error) {
	newest, found, err := v.current(track)
	if err != nil || !found {
		return nil, err
	}
	var rows []held
	next := int64(noTime)
	add := func(r row) {
		if r.learnt <= known && len(rows) < limit {
			rows = append(rows, v.held(r, known, next))
			next = r.from
		}
	}
	disputed, err := v.disputed(track, known, limit)
	if err != nil {
		return nil, err
	}
	// older takes the disputed rows that began at t or after.
	older := func(t int64) {
		for len(disputed) > 0 && disputed[len(disputed)-1].from >= t && len(rows) < limit {
			rows = append(rows, disputed[len(disputed)-1])
			disputed = disputed[:len(disputed)-1]
		}
	}
	older(newest.from)
	add(newest)
	c := v.bucket(bucketPast).Cursor()
	for key, stored := seekBefore(c, track, maxTime); bytes.HasPrefix(key, track) && len(rows) < limit; key, stored = c.Prev() {
		r, err := readPast(key, stored)
		if err != nil {
			return nil, err
		}
		older(r.from)
		add(r)
	}
	older(0)
	slices.Reverse(rows)
	return rows, nil
}

// disputed lists the newest disputed rows of a track, the oldest first. Each is of one moment.
func (v *View) disputed(track []byte, known int64, limit int) ([]held, error) {
	prefix := bytes.Clone(track)
	prefix[len(prefix)-1] |= trackDisputed
	var rows []held
	c := v.bucket(bucketPast).Cursor()
	for key, stored := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, stored = c.Next() {
		r, err := readPast(key, stored)
		if err != nil {
			return nil, err
		}
		if r.learnt <= known {
			r.disputed = true
			rows = append(rows, held{row: r, until: r.from})
		}
	}
	if len(rows) > limit {
		rows = rows[len(rows)-limit:]
	}
	return rows, nil
}

// splitTrack takes the key of a row apart: its track, not disputed, and whether it is.
func splitTrack(key []byte) (track []byte, disputed bool, err error) {
	d := decoder{b: key}
	switch kind := d.take(1); {
	case kind == nil:
	case kind[0] == kindName:
		d.name()
	case kind[0] == kindEndpoint:
		d.endpoint()
	default:
		d.fail()
	}
	last := d.take(1)
	if d.bad {
		return nil, false, fmt.Errorf("%w: its key is of another kind", errRow)
	}
	track = bytes.Clone(key[:len(key)-len(d.b)])
	disputed = last[0]&trackDisputed != 0
	track[len(track)-1] &^= trackDisputed
	return track, disputed, nil
}
