package kafka

import "github.com/minecanary/minecanary/consumer"

// Restart starts a partition anew by Config.Start, as an acknowledgement with consumer.ErrRestart does; a partition that
// is not assigned is left alone.
func (s *Source) Restart(partition string) {
	s.state.Lock()
	p := s.assigned[partition]
	s.state.Unlock()
	if p != nil {
		p.acked(ticket{epoch: p.ledger.currentEpoch()}, consumer.ErrRestart)
	}
}
