package catalog

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Write writes a layer as a file that Parse reads back to the same layer, but for the layer's name.
func Write(w io.Writer, l Layer) error {
	root := mapping()
	if len(l.Coins) > 0 {
		var rows []*yaml.Node
		for i := range l.Coins {
			rows = append(rows, l.Coins[i].node())
		}
		root.add("coins", list(rows))
	}
	if len(l.Pools) > 0 {
		var rows []*yaml.Node
		for i := range l.Pools {
			rows = append(rows, l.Pools[i].node())
		}
		root.add("pools", list(rows))
	}
	if len(l.Removed) > 0 || len(root.Content) == 0 {
		var ids []*yaml.Node
		for _, id := range l.Removed {
			ids = append(ids, text(id))
		}
		root.add("removed", list(ids))
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode((*yaml.Node)(root)); err != nil {
		return fmt.Errorf("catalogue: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write catalogue: %w", err)
	}
	return nil
}

// object is a mapping that is being made.
type object yaml.Node

func mapping() *object { return &object{Kind: yaml.MappingNode} }

func (o *object) add(key string, value *yaml.Node) {
	o.Content = append(o.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, value)
}

// text adds a field unless it is empty.
func (o *object) text(key, value string) {
	if value != "" {
		o.add(key, text(value))
	}
}

func (o *object) provenance(p Provenance) {
	o.text("source", p.Source)
	o.text("as_of", p.AsOf)
	o.text("confidence", string(p.Confidence))
}

// text makes a scalar that is read back as text, whatever it looks like.
func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

func list(rows []*yaml.Node) *yaml.Node { return &yaml.Node{Kind: yaml.SequenceNode, Content: rows} }

func (c *Coin) node() *yaml.Node {
	o := mapping()
	o.text("symbol", c.Symbol)
	o.text("name", c.Name)
	o.text("algorithm", c.Algorithm)
	o.text("dialect", c.Dialect)
	o.text("url", c.URL)
	o.provenance(c.Provenance)
	if len(c.Explorer) > 0 {
		e := mapping()
		for _, key := range ExplorerKeys() {
			e.text(key, c.Explorer[key])
		}
		o.add("explorer", (*yaml.Node)(e))
	}
	return (*yaml.Node)(o)
}

func (p *Pool) node() *yaml.Node {
	o := mapping()
	o.text("id", p.ID)
	o.text("name", p.Name)
	o.text("url", p.URL)
	o.text("operator", p.Operator)
	o.text("kind", string(p.Kind))
	o.text("note", p.Note)
	o.provenance(p.Provenance)
	var servers []*yaml.Node
	for i := range p.Servers {
		s := &p.Servers[i]
		row := mapping()
		row.text("name", s.Name)
		if s.Address.IsValid() {
			row.text("address", s.Address.String())
		}
		row.text("region", s.Region)
		row.provenance(s.Provenance)
		var endpoints []*yaml.Node
		for j := range s.Endpoints {
			endpoints = append(endpoints, s.Endpoints[j].node())
		}
		if len(endpoints) > 0 {
			row.add("endpoints", list(endpoints))
		}
		servers = append(servers, (*yaml.Node)(row))
	}
	if len(servers) > 0 {
		o.add("servers", list(servers))
	}
	return (*yaml.Node)(o)
}

func (e *Endpoint) node() *yaml.Node {
	o := mapping()
	o.Style = yaml.FlowStyle
	o.add("port", &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.Itoa(int(e.Port))})
	o.text("coin", e.Coin)
	if e.TLS {
		o.add("tls", &yaml.Node{Kind: yaml.ScalarNode, Value: "true"})
	}
	o.text("dialect", e.Dialect)
	o.text("algorithm", e.Algorithm)
	o.text("note", e.Note)
	o.provenance(e.Provenance)
	return (*yaml.Node)(o)
}

// Layer gives pools of the catalogue as they would stand in a file: what rows have from above and from their coin is left
// out. Without ids it is all pools, with all coins.
func (c *Catalog) Layer(ids ...string) Layer {
	var l Layer
	for _, p := range c.pools {
		if len(ids) > 0 && !slices.Contains(ids, p.ID) {
			continue
		}
		pool := p.clone()
		for i := range pool.Servers {
			s := &pool.Servers[i]
			for j := range s.Endpoints {
				e := &s.Endpoints[j]
				e.Provenance = e.without(s.Provenance)
				if coin := c.coin[e.Coin]; coin != nil {
					e.Dialect, e.Algorithm = unless(e.Dialect, coin.Dialect), unless(e.Algorithm, coin.Algorithm)
				}
			}
			s.Provenance = s.without(p.Provenance)
		}
		l.Pools = append(l.Pools, *pool)
	}
	if len(ids) == 0 {
		for _, coin := range c.coins {
			l.Coins = append(l.Coins, *coin)
		}
	}
	return l
}

// without is the opposite of over.
func (p Provenance) without(above Provenance) Provenance {
	return Provenance{
		Source: unless(p.Source, above.Source), AsOf: unless(p.AsOf, above.AsOf),
		Confidence: Confidence(unless(string(p.Confidence), string(above.Confidence))),
	}
}

// unless gives s, or "" if it is the other.
func unless(s, other string) string {
	if s == other {
		return ""
	}
	return s
}
