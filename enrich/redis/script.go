package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// The scripts. They are called by their hash and loaded again where a server does not know them.
var (
	//go:embed apply.lua
	applyText string
	//go:embed claim.lua
	claimText string
	//go:embed beat.lua
	beatText string
	//go:embed settle.lua
	settleText string
	//go:embed deciding.lua
	decidingText string
	//go:embed decided.lua
	decidedText string
	//go:embed verdict.lua
	verdictText string
	//go:embed members.lua
	membersText string
	//go:embed sensor.lua
	sensorText string
	//go:embed lock.lua
	lockText string
)

var (
	applyScript    = redis.NewScript(applyText)
	claimScript    = redis.NewScript(claimText)
	beatScript     = redis.NewScript(beatText)
	settleScript   = redis.NewScript(settleText)
	decidingScript = redis.NewScript(decidingText)
	decidedScript  = redis.NewScript(decidedText)
	verdictScript  = redis.NewScript(verdictText)
	membersScript  = redis.NewScript(membersText)
	sensorScript   = redis.NewScript(sensorText)
	lockScript     = redis.NewScript(lockText)
)

// scripts are those of the store.
var scripts = []*redis.Script{
	applyScript, claimScript, beatScript, settleScript, decidingScript, decidedScript, verdictScript, membersScript, sensorScript,
	lockScript,
}

// Of many commands inFlight are sent at a time, and flights are under way together: while Redis works on some the answers
// to those before are taken in, and the next are there already.
const inFlight, flights = 16, 2

// run sends n commands in pipelines and hands over their answers, until each has one. What fails on the way (a server
// that is away, fails over, or does not know the scripts) is sent again, so a command has to bear repetition. It gives
// up when the context ends or a failure is one that time does not cure.
func (s *Store) run(ctx context.Context, n int, queue func(p redis.Pipeliner, i int) redis.Cmder, answer func(i int, cmd redis.Cmder) error) error {
	cmds := make([]redis.Cmder, n)
	pending := make([]int, n)
	for i := range pending {
		pending[i] = i
	}
	var wait backoff
	loaded := 0
	for {
		send := func(list []int) (sent <-chan struct{}) {
			done := make(chan struct{})
			pipe := s.client.Pipeline()
			for _, i := range list {
				cmds[i] = queue(pipe, i)
			}
			go func() {
				defer close(done)
				_, _ = pipe.Exec(ctx) // each command has its own error
			}()
			return done
		}
		var failed error
		missing := false
		var again []int
		take := func(list []int) error {
			for _, i := range list {
				err := cmds[i].Err()
				switch {
				case err == nil, errors.Is(err, redis.Nil):
					if err := answer(i, cmds[i]); err != nil {
						return err
					}
					continue
				case redis.HasErrorPrefix(err, "NOSCRIPT"):
					missing = true
				case permanent(err):
					return fmt.Errorf("redis: %w", err)
				default:
					failed = err
				}
				again = append(again, i)
			}
			return nil
		}
		type flight struct {
			list []int
			sent <-chan struct{}
		}
		var away []flight
		var failing error
		for rest := pending; len(rest) > 0 && failing == nil || len(away) > 0; {
			if len(rest) > 0 && failing == nil && len(away) < flights {
				now := rest[:min(len(rest), inFlight)]
				rest = rest[len(now):]
				away = append(away, flight{now, send(now)})
				continue
			}
			<-away[0].sent
			if failing == nil {
				failing = take(away[0].list)
			}
			away = away[1:]
		}
		if failing != nil {
			return failing
		}
		pending = again
		if len(pending) == 0 {
			s.recovered()
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if missing && failed == nil {
			if failed = s.load(ctx); failed == nil {
				if loaded++; loaded == 1 {
					continue
				}
				failed = errNoScript
			}
		}
		s.failing(failed)
		if outOfMemory(failed) {
			if err := s.relieve(ctx); err != nil {
				return err
			}
		}
		if err := wait.sleep(ctx); err != nil {
			return err
		}
	}
}

var errNoScript = errors.New("the scripts are gone as soon as they are loaded")

// load gives the scripts to every server.
func (s *Store) load(ctx context.Context) error {
	for _, script := range scripts {
		if err := script.Load(ctx, s.client).Err(); err != nil {
			return err
		}
	}
	return nil
}

// failing tells of the first of a row of failures, and recovered of their end.
func (s *Store) failing(err error) {
	if !s.away && s.cfg.OnError != nil {
		s.cfg.OnError(fmt.Errorf("redis: %w", err))
	}
	s.away = true
}

func (s *Store) recovered() { s.away = false }
