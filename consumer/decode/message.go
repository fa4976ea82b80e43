package decode

import (
	"bytes"
	"math"

	"github.com/minecanary/minecanary/consumer"
	"github.com/minecanary/minecanary/consumer/envelope"
	"github.com/minecanary/minecanary/consumer/jsonscan"
	"github.com/minecanary/minecanary/consumer/zeek"
)

// message is the message in work.
type message struct {
	// begin is where it begins in the batch's Data.
	begin  int
	offset int64
	// records counts its parts.
	records int
	// tsv reads its lines of TSV, which come with their header or not at all.
	tsv *zeek.TSV
	// latest is when a record may end at the latest, Unix microseconds.
	latest int64
}

// ofTopic tells whether a batch holds messages, not lines.
func ofTopic(b *consumer.Batch) bool { return b.Messages != nil || b.Topic != "" }

// messages reads a batch of a topic.
func (w *worker) messages(j *job) {
	latest := int64(math.MaxInt64)
	if w.stage.cfg.Now != nil {
		latest = w.stage.cfg.Now().Add(MaxAhead).UnixMicro()
	}
	begin := 0
	for _, m := range j.batch.Messages {
		data := j.batch.Data[begin:m.End]
		w.msg = message{begin: begin, offset: m.Offset, latest: latest}
		begin = m.End
		j.counts.Messages++
		if m.Cut {
			w.badMessage(j, ReasonTooLong, data)
			continue
		}
		switch out := w.peeler.Peel(j.batch.Topic, data, w.take); out.Kind {
		case consumer.Decoded:
		case consumer.Skipped:
			j.counts.Lines++
			j.counts.Skipped[out.Reason]++
		case consumer.Bad:
			w.badMessage(j, out.Reason, data)
		}
	}
}

// badMessage takes in a message, or the part of one that records counts.
func (w *worker) badMessage(j *job, reason string, data []byte) {
	j.counts.Lines++
	j.addBad(Bad{
		Offset: w.msg.offset, Record: w.msg.records, Reason: reason,
		Data: bytes.Clone(data[:min(len(data), consumer.MaxSample)]),
	})
}

// line takes in what the Peeler found. It is false only for a guess that is to be looked at in full.
func (w *worker) line(l *envelope.Line) bool {
	j := w.job
	raw := Origin{w.msg.begin + l.Begin, w.msg.begin + l.End}
	out := consumer.Outcome{Kind: consumer.Bad, Reason: l.Bad}
	var d decoder
	if l.Bad == "" {
		ok := false
		if d, out, ok = w.record(l); !ok {
			return false
		}
	}
	w.msg.records++
	switch out.Kind {
	case consumer.Decoded:
		if w.rec.Sensor == "" {
			w.rec.Sensor = l.Sensor
		}
		if w.rec.End > w.msg.latest {
			w.badMessage(j, ReasonFuture, j.batch.Data[raw.Begin:raw.End])
			break
		}
		j.counts.Lines++
		j.forms[l.Kind][l.Form]++
		w.slice(j, l.Form, raw)
	case consumer.Sighted:
		// All sightings of a line are of one time.
		if s := d.(sighter).Sightings(); s[0].Time > w.msg.latest {
			w.badMessage(j, ReasonFuture, j.batch.Data[raw.Begin:raw.End])
			break
		}
		j.counts.Lines++
		w.sight(d, l.Sensor)
	case consumer.Skipped:
		j.counts.Lines++
		j.counts.Skipped[out.Reason]++
	case consumer.Bad:
		w.badMessage(j, out.Reason, j.batch.Data[raw.Begin:raw.End])
	}
	return true
}

// record decodes a line, and gives the decoder that did.
func (w *worker) record(l *envelope.Line) (d decoder, out consumer.Outcome, ok bool) {
	if l.Form == consumer.FormEVE {
		if l.Guess {
			out, ok = w.eve.Try(l.Data, &w.rec)
			return w.eve, out, ok
		}
		return w.eve, w.eve.Decode(l.Data, &w.rec), true
	}
	if l.Form == consumer.FormGoflow2 {
		if l.Guess {
			out, ok = w.goflow2.Try(l.Data, &w.rec)
			return w.goflow2, out, ok
		}
		return w.goflow2, w.goflow2.Decode(l.Data, &w.rec), true
	}
	if l.Log != "" {
		if reason, skips := zeek.Skips(l.Log); skips {
			// Of a guess it is not known yet that it is one object.
			whole := !l.Guess || jsonscan.Skip(l.Data, 0, 0) == len(l.Data)
			return nil, consumer.Outcome{Kind: consumer.Skipped, Reason: reason}, whole
		}
	}
	if l.Form == consumer.FormZeekTSV {
		if w.msg.tsv == nil {
			w.msg.tsv = zeek.NewTSV(nil)
		}
		return w.msg.tsv, w.msg.tsv.Decode(l.Data, &w.rec), true
	}
	hint := zeek.Hint{Log: l.Log, Forced: l.Forced}
	if l.Guess {
		out, ok = w.json.Try(l.Data, hint, &w.rec)
		return w.json, out, ok
	}
	return w.json, w.json.DecodeAs(l.Data, hint, &w.rec), true
}
