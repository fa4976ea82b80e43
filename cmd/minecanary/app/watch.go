package app

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/wallets"
	"github.com/minecanary/minecanary/intel/watch"
)

const (
	// watchListEvery is how often the list of wallets is looked at.
	watchListEvery = 10 * time.Second
	// maxWatchList is its largest size in bytes.
	maxWatchList = 16 << 20
)

// walletWatch looks for the wallets of the operator's list among the logins that sensors saw.
type walletWatch struct {
	*watch.Watcher
	path string
	log  *slog.Logger
	seen [sha256.Size]byte
}

// newWalletWatch makes it; nil if watch.list is empty. produce writes to watch.topic; nil without brokers.
func newWalletWatch(c config.Watch, log *slog.Logger, produce watch.Producer) (*walletWatch, error) {
	if c.List == "" {
		return nil, nil //nolint:nilnil // nobody to watch for is no error
	}
	var tell []watch.Notifier
	if c.Webhook != "" {
		hook, err := watch.NewWebhook(c.Webhook, []byte(c.WebhookSecret), nil)
		if err != nil {
			return nil, usageError{err}
		}
		tell = append(tell, hook)
	}
	if c.MailServer != "" {
		mail, err := watch.NewMail(watch.MailOptions{
			Server: c.MailServer, Security: watch.Security(c.MailSecurity), User: c.MailUser, Password: c.MailPassword, From: c.MailFrom, To: c.MailTo,
		})
		if err != nil {
			return nil, usageError{err}
		}
		tell = append(tell, mail)
	}
	if c.Topic != "" {
		tell = append(tell, watch.Topic{Producer: produce})
	}
	w := &walletWatch{path: c.List, log: log}
	w.Watcher = watch.New(watch.Options{
		Notifiers: tell,
		Failed: func(notifier string, e watch.Event, err error) {
			log.Error("watched wallet not told", slog.String("by", notifier), slog.String("event", e.ID), slog.Any("error", err))
		},
	})
	return w, w.read()
}

// look reads the list if it has changed. With a bad line the list before holds on.
func (w *walletWatch) look() {
	if err := w.read(); err != nil {
		w.log.Error("watch list; the one before holds on", slog.Any("error", err))
	}
}

// read reads the list if it has changed.
func (w *walletWatch) read() error {
	text, err := readAtMost(w.path, maxWatchList)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	if sum == w.seen {
		return nil
	}
	w.seen = sum
	list, bad := watch.Parse(bytes.NewReader(text), w.path)
	if err := errors.Join(bad...); err != nil {
		return err
	}
	w.SetList(list)
	w.log.Info("watch list", slog.Int("wallets", list.Len()))
	return nil
}

// see takes what sensors saw.
func (w *walletWatch) see(sightings []minecanary.Sighting) {
	for i := range sightings {
		s := &sightings[i]
		if s.Login == "" {
			continue
		}
		login, ok := wallets.Parse(s.Login)
		if !ok {
			continue
		}
		fresh := w.See(watch.Sighting{
			Time: time.UnixMicro(s.Time).UTC(), Login: login, Client: s.Client, Server: s.Server, Agent: s.Agent,
			Source: strings.TrimSpace(s.Sensor),
		})
		if fresh {
			w.log.Warn("a watched wallet is mined for", slog.String("wallet", login.Wallet), slog.Any("client", s.Client), slog.Any("server", s.Server))
		}
	}
}
