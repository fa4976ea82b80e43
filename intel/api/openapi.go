package api

import (
	_ "embed" // the description is a file
	"encoding/json"
	"net/http"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var description []byte

// Title is that of the description, by which a client knows what it talks to.
const Title = "Minecanary"

// openAPI is the description as JSON, with the program's version; nothing if it is no YAML, which a test rules out.
func openAPI(version string) []byte {
	var doc struct {
		Info map[string]any `yaml:"info"`
		Rest map[string]any `yaml:",inline"`
	}
	if err := yaml.Unmarshal(description, &doc); err != nil {
		return nil
	}
	if version != "" {
		doc.Info["version"] = version
	}
	doc.Rest["info"] = doc.Info
	b, err := json.Marshal(doc.Rest)
	if err != nil {
		return nil
	}
	return append(b, '\n')
}

func (c *call) openAPIJSON() error {
	if _, err := c.accept(typeJSON); err != nil {
		return err
	}
	return c.send(http.StatusOK, typeJSON, c.json)
}

func (c *call) openAPIYAML() error {
	if _, err := c.accept(typeYAML); err != nil {
		return err
	}
	return c.send(http.StatusOK, typeYAML, description)
}
