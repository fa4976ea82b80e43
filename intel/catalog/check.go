package catalog

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/minecanary/minecanary"
)

var (
	idForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	symbolForm = regexp.MustCompile(`^[A-Z0-9]{1,12}$`)
	labelForm  = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)
	wordForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9 /._+-]{0,39}$`)
)

// ExplorerKeys gives what a coin's explorer templates may show.
func ExplorerKeys() []string { return []string{"transaction", "address", "block", "pools"} }

func validID(id string) bool { return idForm.MatchString(id) }

// CanonicalName gives a domain name in lower case without a trailing dot.
func CanonicalName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// badText says why a text cannot be a field; "" if it can.
func badText(s string) string {
	switch {
	case len(s) > MaxText:
		return fmt.Sprintf("is longer than %d bytes", MaxText)
	case !utf8.ValidString(s):
		return "is not UTF-8"
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) }):
		return "has characters that cannot be printed"
	}
	return ""
}

// IsName tells whether a name in lower case without a trailing dot has the form of a fully qualified domain name.
func IsName(name string) bool {
	labels := strings.Split(name, ".")
	last := labels[len(labels)-1]
	return len(name) <= 253 && len(labels) >= 2 && strings.Trim(last, "0123456789") != "" &&
		!slices.ContainsFunc(labels, func(l string) bool { return !labelForm.MatchString(l) })
}

// BadName says why a name cannot be a pool's server: not of the DNS, or reserved (RFC 2606, 6761, 6762, 7686); "" if it can.
func BadName(name string) string {
	if !IsName(name) {
		return fmt.Sprintf("%q is no fully qualified domain name", name)
	}
	labels := strings.Split(name, ".")
	last := labels[len(labels)-1]
	if slices.Contains([]string{"test", "example", "invalid", "localhost", "local", "onion", "alt", "internal", "arpa", "lan", "home", "corp"}, last) {
		return fmt.Sprintf("%q is a reserved name (.%s)", name, last)
	}
	if second := strings.Join(labels[len(labels)-2:], "."); slices.Contains([]string{"example.com", "example.net", "example.org"}, second) {
		return fmt.Sprintf("%q is a reserved name (%s)", name, second)
	}
	return ""
}

func badURL(key, s string) string {
	if s == "" {
		return ""
	}
	if u, err := url.Parse(s); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Sprintf("%s %q is no web address", key, s)
	}
	return ""
}

func (p Provenance) problems() []string {
	var reasons []string
	if p.AsOf != "" {
		if _, err := time.Parse(time.DateOnly, p.AsOf); err != nil {
			reasons = append(reasons, fmt.Sprintf("as_of %q is no day like 2026-04-21", p.AsOf))
		}
	}
	if p.Confidence != "" && !slices.Contains(Confidences(), p.Confidence) {
		reasons = append(reasons, fmt.Sprintf("confidence %q is none of high, medium, low", p.Confidence))
	}
	return reasons
}

// texts refuses what a line cannot hold; YAML was checked before, documents of the API were not.
func texts(named ...string) []string {
	var reasons []string
	for i := 0; i < len(named); i += 2 {
		if r := badText(named[i+1]); r != "" {
			reasons = append(reasons, named[i]+" "+r)
		}
	}
	return reasons
}

func (p *Pool) problems() []string {
	reasons := append(p.Provenance.problems(), texts("name", p.Name, "url", p.URL, "operator", p.Operator, "note", p.Note, "source", p.Source)...)
	if !validID(p.ID) {
		reasons = append(reasons, fmt.Sprintf("id %q is not lower-case letters, digits and hyphens", p.ID))
	}
	if p.Name == "" {
		reasons = append(reasons, "a pool must have a name")
	}
	if !slices.Contains(Kinds(), p.Kind) {
		reasons = append(reasons, fmt.Sprintf("kind %q is none of public, solo, proxy, browser", p.Kind))
	}
	if r := badURL("url", p.URL); r != "" {
		reasons = append(reasons, r)
	}
	return reasons
}

func (s *Server) problems() []string {
	reasons := append(s.Provenance.problems(), texts("region", s.Region, "source", s.Source)...)
	switch {
	case s.Name == "" && !s.Address.IsValid():
		reasons = append(reasons, "a server must have a name or an address")
	case s.Name != "" && s.Address.IsValid():
		reasons = append(reasons, "a server has a name or an address, not both")
	case s.Name != "":
		if r := BadName(s.Name); r != "" {
			reasons = append(reasons, r)
		}
	default:
		if r := minecanary.Reserved(s.Address); r != "" {
			reasons = append(reasons, fmt.Sprintf("address %s is reserved: %s", s.Address, r))
		}
	}
	return reasons
}

func (e *Endpoint) problems() []string {
	reasons := append(e.Provenance.problems(), texts("note", e.Note, "source", e.Source)...)
	if e.Port == 0 {
		reasons = append(reasons, "an endpoint must have a port from 1 to 65535")
	}
	if e.Coin != "" && !symbolForm.MatchString(e.Coin) {
		reasons = append(reasons, fmt.Sprintf("coin %q is no symbol of upper-case letters and digits", e.Coin))
	}
	if e.Dialect != "" && !slices.Contains(Dialects(), e.Dialect) {
		reasons = append(reasons, fmt.Sprintf("dialect %q is unknown", e.Dialect))
	}
	if e.Algorithm != "" && !wordForm.MatchString(e.Algorithm) {
		reasons = append(reasons, fmt.Sprintf("algorithm %q is no lower-case name", e.Algorithm))
	}
	return reasons
}

func (c *Coin) problems() []string {
	reasons := append(c.Provenance.problems(), texts("name", c.Name, "url", c.URL, "source", c.Source)...)
	if !symbolForm.MatchString(c.Symbol) {
		reasons = append(reasons, fmt.Sprintf("symbol %q is not upper-case letters and digits", c.Symbol))
	}
	if c.Name == "" {
		reasons = append(reasons, "a coin must have a name")
	}
	if !wordForm.MatchString(c.Algorithm) {
		reasons = append(reasons, fmt.Sprintf("algorithm %q is no lower-case name", c.Algorithm))
	}
	if !slices.Contains(Dialects(), c.Dialect) {
		reasons = append(reasons, fmt.Sprintf("dialect %q is unknown", c.Dialect))
	}
	if r := badURL("url", c.URL); r != "" {
		reasons = append(reasons, r)
	}
	for key, v := range c.Explorer {
		if r := badURL("explorer."+key, v); r != "" {
			reasons = append(reasons, r)
		}
		if !slices.Contains(ExplorerKeys(), key) {
			reasons = append(reasons, fmt.Sprintf("explorer.%s is none of %s", key, strings.Join(ExplorerKeys(), ", ")))
		}
		if r := badText(v); r != "" {
			reasons = append(reasons, "explorer."+key+" "+r)
		}
	}
	return reasons
}

// Check gives why a pool that did not come from a file cannot stand in a catalogue, with its servers and endpoints; none
// if it can. coin tells which symbols there are.
func (p *Pool) Check(coin func(symbol string) bool) []string {
	reasons := p.problems()
	for i := range p.Servers {
		s := &p.Servers[i]
		for _, r := range s.problems() {
			reasons = append(reasons, fmt.Sprintf("server %d: %s", i+1, r))
		}
		for j := range s.Endpoints {
			for _, r := range s.Endpoints[j].problems() {
				reasons = append(reasons, fmt.Sprintf("server %d, endpoint %d: %s", i+1, j+1, r))
			}
			if symbol := s.Endpoints[j].Coin; symbol != "" && !coin(symbol) {
				reasons = append(reasons, fmt.Sprintf("server %d, endpoint %d: the catalogue has no coin %q", i+1, j+1, s.Endpoints[j].Coin))
			}
		}
	}
	return reasons
}

// Check gives why a coin that did not come from a file cannot stand in a catalogue; none if it can.
func (c *Coin) Check() []string { return c.problems() }

// Exchanges are second-level domains of exchanges, wallets and shops that lists take for pools. An operator that runs both
// has its pool's servers under a name that begins with one of poolWords.
func exchanges() []string {
	return []string{
		"binance.com", "coinbase.com", "kraken.com", "bitfinex.com", "huobi.com", "okx.com", "okex.com", "kucoin.com", "bittrex.com",
		"poloniex.com", "bitstamp.net", "gate.io", "blockchain.com", "blockchain.info", "changelly.com", "1inch.io", "uniswap.org",
		"localbitcoins.com", "coinmarketcap.com", "coingecko.com", "etherscan.io", "myetherwallet.com", "metamask.io", "mymonero.com",
	}
}

var poolWords = regexp.MustCompile(`(?i)pool|stratum|mine|mining|(^|[.-])(btc|bch|ltc|eth|ethw|etc|dash|zec|doge|xmr|sbtc|rvn|kas)([.-]|[0-9])`)

// Lint gives what is wrong with a catalogue as a whole or deserves a look: what no single row shows.
func (c *Catalog) Lint() []Problem {
	var problems []Problem
	say := func(p *Pool, format string, args ...any) {
		file := p.Layer
		if file == LayerShipped {
			file = "pools/" + p.ID + ".yaml"
		}
		problems = append(problems, Problem{File: file, Reason: fmt.Sprintf(format, args...)})
	}
	type place struct {
		host string
		port uint16
		coin string
	}
	seen := map[place]*Pool{}
	names := map[string]*Pool{}
	for _, p := range c.pools {
		key := strings.ToLower(strings.Join(strings.FieldsFunc(p.Name, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }), ""))
		if other := names[key]; other != nil {
			say(p, "%s has the name of %s", p.ID, other.ID)
		}
		names[key] = p
		for i := range p.Servers {
			s := &p.Servers[i]
			for _, e := range exchanges() {
				if (s.Name == e || strings.HasSuffix(s.Name, "."+e)) && !poolWords.MatchString(strings.TrimSuffix(s.Name, e)) {
					say(p, "%s is an exchange's, a wallet's or a shop's, not a pool's", s.Name)
				}
			}
			for j := range s.Endpoints {
				e := &s.Endpoints[j]
				if e.Coin == "" {
					say(p, "%s:%d does not say its coin", s.Host(), e.Port)
				} else if c.coin[e.Coin] == nil {
					say(p, "%s:%d mines %s, which no coin of the catalogue is", s.Host(), e.Port, e.Coin)
				}
				at := place{s.Host(), e.Port, e.Coin}
				if other := seen[at]; other != nil {
					say(p, "%s:%d with %s is in %s already", s.Host(), e.Port, e.Coin, other.ID)
				}
				seen[at] = p
				if e.Source == "" || e.AsOf == "" || e.Confidence == "" {
					say(p, "%s:%d does not say source, as_of and confidence", s.Host(), e.Port)
				}
			}
		}
	}
	return problems
}
