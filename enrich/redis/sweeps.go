package redis

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Bounds of shared sweeps.
const (
	// MaxSweepEvents and MaxSweepBytes bound what is kept of what processes tell each other: the oldest go first. 4,453
	// endpoints every three hours and 1,480 names every half hour are 107,000 events a day, most of them of some 400 bytes.
	MaxSweepEvents = 100_000
	MaxSweepBytes  = 32 << 20
	// maxSweepsRead is how many events are read at once.
	maxSweepsRead = 500
	// sweepsTTL is how long events stay when nobody adds any.
	sweepsTTL = 30 * 24 * time.Hour
)

//go:embed sweeps_claim.lua
var sweepsClaim string

//go:embed sweeps_tell.lua
var sweepsTell string

//go:embed sweeps_since.lua
var sweepsSince string

// Sweeps lets processes sweep the catalogue together (sweep.Share): a key that expires for each claim, and the events in
// order of their versions. All keys lie in one hash slot; claims run by the server's clock. What Redis loses of it is asked
// once more.
type Sweeps struct {
	client             redis.UniversalClient
	owner              string
	claims, log, meta  string
	claim, tell, since *redis.Script
	events, bytes      int // bounds
}

// NewSweeps gives what processes under a prefix share. It does no I/O.
func NewSweeps(client redis.UniversalClient, prefix string) *Sweeps {
	return &Sweeps{
		client: client, owner: rand.Text(), claims: prefix + "{sweeps}claim:", log: prefix + "{sweeps}events", meta: prefix + "{sweeps}meta",
		claim: redis.NewScript(sweepsClaim), tell: redis.NewScript(sweepsTell), since: redis.NewScript(sweepsSince),
		events: MaxSweepEvents, bytes: MaxSweepBytes,
	}
}

var errSweeps = errors.New("strange reply")

// Claim implements sweep.Share.
func (s *Sweeps) Claim(ctx context.Context, key string, lease time.Duration) (ok bool, version uint64, err error) {
	reply, err := s.claim.Run(ctx, s.client, []string{s.claims + key, s.meta}, s.owner, max(lease, time.Millisecond).Microseconds()).Slice()
	if err != nil {
		return false, 0, fmt.Errorf("claim what to sweep: %w", err)
	}
	if len(reply) != 2 {
		return false, 0, fmt.Errorf("claim what to sweep: %w", errSweeps)
	}
	mine, isNumber := reply[0].(int64)
	version, err = sweepVersion(reply[1])
	if !isNumber || err != nil {
		return false, 0, fmt.Errorf("claim what to sweep: %w", errSweeps)
	}
	return mine == 1, version, nil
}

// Tell implements sweep.Share.
func (s *Sweeps) Tell(ctx context.Context, events [][]byte, done []string) error {
	keys := append(make([]string, 0, 2+len(done)), s.log, s.meta)
	for _, key := range done {
		keys = append(keys, s.claims+key)
	}
	args := append(make([]any, 0, 4+len(events)), s.owner, s.events, s.bytes, int(sweepsTTL.Seconds()))
	for _, e := range events {
		args = append(args, e)
	}
	if err := s.tell.Run(ctx, s.client, keys, args...).Err(); err != nil {
		return fmt.Errorf("tell others of a sweep: %w", err)
	}
	return nil
}

// Since implements sweep.Share.
func (s *Sweeps) Since(ctx context.Context, version uint64) (events [][]byte, now uint64, err error) {
	reply, err := s.since.Run(ctx, s.client, []string{s.log, s.meta}, strconv.FormatUint(version, 10), maxSweepsRead).Slice()
	if err != nil {
		return nil, version, fmt.Errorf("read others' sweeps: %w", err)
	}
	if len(reply)%2 != 1 {
		return nil, version, fmt.Errorf("read others' sweeps: %w", errSweeps)
	}
	if now, err = sweepVersion(reply[0]); err != nil {
		return nil, version, fmt.Errorf("read others' sweeps: %w", err)
	}
	for i := 1; i < len(reply); i += 2 {
		member, _ := reply[i].(string)
		score, _ := reply[i+1].(string)
		at, err := strconv.ParseFloat(score, 64)
		if err != nil || at < 0 || at > maxSweepVersion {
			return nil, version, fmt.Errorf("read others' sweeps: %w", errSweeps)
		}
		_, event, _ := strings.Cut(member, " ") // whoever else writes here is refused by the reader
		events, now = append(events, []byte(event)), uint64(at)
	}
	return events, now, nil
}

// maxSweepVersion is the greatest version: what a double holds to the last digit.
const maxSweepVersion = 1 << 53

// sweepVersion reads a version.
func sweepVersion(reply any) (uint64, error) {
	text, _ := reply.(string)
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil || v > maxSweepVersion {
		return 0, errSweeps
	}
	return v, nil
}
