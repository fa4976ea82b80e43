package app

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/decode"
	"github.com/minecanary/minecanary/enrich"
)

// pump runs source → decode → engine until the source ends or ctx does. When ctx ends, reading stops, what was read is
// dropped unacknowledged, and the engine saves what it has applied. What is ours does not reach the engine.
// saw, if not nil, is shown what sensors saw beside traffic, before the engine is.
func pump(ctx context.Context, src consumer.Source, stage *decode.Stage, engine *enrich.Engine, ours ours, saw func([]minecanary.Sighting)) error {
	if err := src.Connect(ctx); err != nil {
		return err
	}
	results := make(chan decode.Result)
	inputs := make(chan enrich.Input, engine.Joins())
	g, ctx := errgroup.WithContext(ctx)
	staged := make(chan error, 1)
	g.Go(func() error {
		err := stage.Run(ctx, src, results)
		staged <- err
		return err
	})
	g.Go(func() (err error) {
		defer func() {
			if err == nil {
				close(inputs)
			}
		}()
		for r := range results {
			in := enrich.Input{
				Batch: &enrich.Batch{
					Partition: r.Partition, From: r.From, Next: r.Next, Token: r.Token, Slices: r.Slices, Sightings: r.Sightings, Newest: r.Newest,
				},
				Release: r.Release,
			}
			if r.Ack != nil {
				in.Ack = func(ctx context.Context, err error) error {
					if errors.Is(err, enrich.ErrRestart) {
						err = consumer.ErrRestart
					}
					return r.Ack(ctx, err)
				}
			}
			if r.Origin != nil {
				in.Batch.Records = make([][]byte, len(r.Origin))
				for i, o := range r.Origin {
					in.Batch.Records[i] = r.Data[o.Begin:o.End]
				}
			}
			ours.leaveOut(in.Batch)
			if saw != nil {
				saw(in.Batch.Sightings)
			}
			select {
			case inputs <- in:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		// Results end with the input, and with a stage that failed or was told to stop: only in the first case may the
		// engine take its input for complete.
		return <-staged
	})
	g.Go(func() error { return engine.Run(ctx, inputs) })
	err := g.Wait()
	return errors.Join(err, src.Close())
}
