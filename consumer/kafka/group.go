package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// watchTopics looks up topics, partitions and brokers.
func (s *Source) watchTopics(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.lookUp(ctx); err != nil && ctx.Err() == nil {
			s.report("", fmt.Errorf("look up topics: %w", err))
		}
		s.state.Lock()
		pause := s.cfg.Refresh
		if len(s.counts) == 0 {
			pause = min(pause, time.Second)
		}
		s.state.Unlock()
		sleep(ctx, pause)
	}
}

// lookUp asks once.
func (s *Source) lookUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, idleTimeout)
	defer cancel()
	meta, err := s.client.Metadata(ctx, &kafka.MetadataRequest{Topics: s.cfg.Topics})
	if err != nil {
		return err
	}
	counts := map[string]int{}
	for _, t := range meta.Topics {
		if t.Error != nil {
			s.report(t.Name, fmt.Errorf("topic %s: %w", t.Name, t.Error))
			continue
		}
		counts[t.Name] = len(t.Partitions)
	}
	s.state.Lock()
	s.brokers = s.brokers[:0]
	for _, b := range meta.Brokers {
		s.brokers = append(s.brokers, fmt.Sprintf("%s:%d", b.Host, b.Port))
	}
	// A topic that was deleted is forgotten only when it is replaced: its error may be a passing one.
	grown := false
	for t, n := range counts {
		if s.counts[t] != n {
			s.counts[t], grown = n, true
		}
	}
	if grown {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	assigned := make([]*partition, 0, len(s.assigned))
	for _, p := range s.assigned {
		assigned = append(assigned, p)
	}
	s.state.Unlock()
	return s.lookUpEnds(ctx, assigned)
}

// lookUpEnds asks for the ends of the assigned partitions: the watchdog must not rely on the reader it watches.
func (s *Source) lookUpEnds(ctx context.Context, assigned []*partition) error {
	if len(assigned) == 0 {
		return nil
	}
	req := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{}}
	for _, p := range assigned {
		req.Topics[p.topic] = append(req.Topics[p.topic], kafka.LastOffsetOf(p.id))
	}
	res, err := s.client.ListOffsets(ctx, req)
	if err != nil {
		return err
	}
	for _, p := range assigned {
		for _, o := range res.Topics[p.topic] {
			if o.Partition == p.id && o.Error == nil {
				p.sawEnd(o.LastOffset)
			}
		}
	}
	return nil
}

// belong is a member of the group until the context ends. Topics that do not exist yet are left out: with one missing
// topic kafka-go's assignment would give nobody any partition at all. When topics appear or grow, the group is joined
// anew.
func (s *Source) belong(ctx context.Context) {
	for ctx.Err() == nil {
		s.state.Lock()
		changed := s.changed
		var topics []string
		for t := range s.counts {
			topics = append(topics, t)
		}
		s.state.Unlock()
		if len(topics) == 0 {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		slices.Sort(topics)
		s.member(ctx, topics, changed)
	}
}

// member joins the group and takes part in its generations until the topics change or the context ends.
func (s *Source) member(ctx context.Context, topics []string, changed <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:      s.cfg.Group,
		Brokers: s.brokerList(),
		// Joining waits for the other members.
		Dialer:            s.net.dialer(s.cfg.SessionTimeout+rebalanceTimeout+idleTimeout, 0),
		Topics:            topics,
		GroupBalancers:    []kafka.GroupBalancer{kafka.RoundRobinGroupBalancer{}, kafka.RangeGroupBalancer{}},
		HeartbeatInterval: s.cfg.HeartbeatInterval,
		SessionTimeout:    s.cfg.SessionTimeout,
		RebalanceTimeout:  max(rebalanceTimeout, s.cfg.SessionTimeout),
		JoinGroupBackoff:  backoffLow,
		StartOffset:       kafka.FirstOffset,
	})
	if err != nil {
		s.report("", fmt.Errorf("group %s: %w", s.cfg.Group, err))
		sleep(ctx, backoffHigh)
		return
	}
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		select {
		case <-ctx.Done():
		case <-changed:
			cancel()
		}
		// Leaves the group after the generation's last commit.
		_ = group.Close() // always nil
	}()
	defer func() {
		cancel()
		<-watching
	}()

	pause := backoff{low: backoffLow, high: backoffHigh}
	for {
		gen, err := group.Next(ctx)
		if ctx.Err() != nil || errors.Is(err, kafka.ErrGroupClosed) {
			return
		}
		if err != nil {
			s.report("", fmt.Errorf("join group %s: %w", s.cfg.Group, err))
			if !pause.wait(ctx) {
				return
			}
			continue
		}
		pause.reset()
		done := make(chan struct{})
		gen.Start(func(end context.Context) {
			defer close(done)
			s.generation(ctx, end, gen)
		})
		<-done
	}
}

func (s *Source) brokerList() []string {
	s.state.Lock()
	defer s.state.Unlock()
	list := slices.Clone(s.cfg.Client.Brokers)
	for _, b := range s.brokers {
		if !slices.Contains(list, b) {
			list = append(list, b)
		}
	}
	return list
}

// generation reads the assigned partitions until they are revoked or the context ends, and commits.
func (s *Source) generation(ctx, end context.Context, gen *kafka.Generation) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(end, cancel)()

	parts := map[string]*partition{}
	n := 0
	for _, assigned := range gen.Assignments {
		n += len(assigned)
	}
	share := max(minBatchBytes, s.cfg.Buffer/(inFlight*max(n, 1)))
	for topic, assigned := range gen.Assignments {
		for _, a := range assigned {
			p := newPartition(s, topic, a.ID, max(a.Offset, -1), min(s.cfg.BatchBytes, share))
			parts[p.name] = p
		}
	}
	s.state.Lock()
	s.assigned, s.joined = parts, true
	s.state.Unlock()

	var readers sync.WaitGroup
	for _, p := range parts {
		readers.Go(func() { p.run(ctx) })
	}
	readers.Go(func() { s.watchdog(ctx, parts) })

	ticker := time.NewTicker(commitInterval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
			s.commit(gen, parts, false)
		}
	}
	s.state.Lock()
	s.assigned, s.joined = map[string]*partition{}, false
	s.state.Unlock()
	readers.Wait()
	s.commit(gen, parts, true)
	for _, p := range parts {
		p.ledger.close()
	}
}

// commit sends what is due. At the end of a generation the group may have gone on without this member: no error then,
// whoever has the partitions now reads the same messages again.
func (s *Source) commit(gen *kafka.Generation, parts map[string]*partition, last bool) {
	offsets := map[string]map[int]int64{}
	due := map[*partition]int64{}
	for _, p := range parts {
		if o, ok := p.ledger.due(); ok {
			if offsets[p.topic] == nil {
				offsets[p.topic] = map[int]int64{}
			}
			offsets[p.topic][p.id] = o
			due[p] = o
		}
	}
	if len(due) == 0 {
		return
	}
	if err := gen.CommitOffsets(offsets); err != nil {
		if !last {
			s.report("", fmt.Errorf("commit offsets of group %s: %w", s.cfg.Group, err))
		}
		return
	}
	for p, o := range due {
		p.ledger.done(o)
	}
}

// watchdog restarts readers that make no progress though there is more to read and nobody holds them up.
func (s *Source) watchdog(ctx context.Context, parts map[string]*partition) {
	type mark struct {
		want  int64
		since time.Time
	}
	marks := map[string]mark{}
	tick := time.NewTicker(max(s.cfg.Stall/5, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for name, p := range parts {
				v := p.snapshot()
				m, ok := marks[name]
				if !ok || v.want != m.want || v.waiting || !v.started || v.behind() == 0 {
					marks[name] = mark{v.want, now}
					continue
				}
				if now.Sub(m.since) < s.cfg.Stall {
					continue
				}
				marks[name] = mark{v.want, now}
				s.state.Lock()
				s.restarts[name]++
				s.state.Unlock()
				s.report(name, fmt.Errorf("no progress at offset %d for %s, %d behind: the reader is restarted", v.want,
					s.cfg.Stall, v.behind()))
				p.restart()
			}
		}
	}
}
