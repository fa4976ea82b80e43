package watch

import (
	"context"
	"encoding/json"
	"fmt"
)

// Producer writes a message to a topic of Kafka. What it is made of is the caller's.
type Producer interface {
	Produce(ctx context.Context, key, value []byte) error
}

// Topic tells events as messages: the key is the wallet, the value the event's JSON.
type Topic struct {
	Producer Producer
}

// Name is "kafka".
func (t Topic) Name() string { return "kafka" }

// Notify writes one message.
func (t Topic) Notify(ctx context.Context, e Event) error {
	value, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("kafka: %w: %w", err, ErrPermanent)
	}
	if err := t.Producer.Produce(ctx, []byte(e.Wallet), value); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	return nil
}
