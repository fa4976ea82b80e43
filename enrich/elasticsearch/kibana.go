package elasticsearch

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// KibanaConfig says how to reach Kibana.
type KibanaConfig struct {
	// URL is https://host:5601, with the base path if there is one, without user and password.
	URL string
	// Space is the Kibana space, "" for the default one.
	Space string
	// APIKey is the encoded key. Either it or User and Password, or neither.
	APIKey         string
	User, Password string
	// TLS is as in Config.
	TLS *tls.Config
	// Timeout bounds the import; 0 means DefaultTimeout.
	Timeout time.Duration
}

// SetupKibana imports saved objects (lines of JSON, docker.Kibana), replacing those with the same ids. The error names
// every object that Kibana refused. It does not try again.
func SetupKibana(ctx context.Context, cfg KibanaConfig, objects []byte) error {
	base, err := parseURL(cfg.URL)
	if err != nil {
		return fmt.Errorf("kibana: the URL %w", err)
	}
	if err := checkLogin(cfg.APIKey, cfg.User, cfg.Password); err != nil {
		return fmt.Errorf("kibana: %w", err)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Space != "" {
		base = base.JoinPath("s", url.PathEscape(cfg.Space))
	}
	target := base.JoinPath("api", "saved_objects", "_import")
	target.RawQuery = "overwrite=true"

	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	// Kibana goes by the file name's ending.
	part, err := form.CreateFormFile("file", "minecanary.ndjson")
	if err != nil {
		return fmt.Errorf("kibana: %w", err)
	}
	_, _ = part.Write(objects) // a buffer does not fail
	if err := form.Close(); err != nil {
		return fmt.Errorf("kibana: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), &body)
	if err != nil {
		return fmt.Errorf("kibana: %w", err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("kbn-xsrf", "minecanary") // Kibana refuses a POST without it, whatever its value
	switch {
	case cfg.APIKey != "":
		req.Header.Set("Authorization", "ApiKey "+cfg.APIKey)
	case cfg.User != "":
		req.SetBasicAuth(cfg.User, cfg.Password)
	}
	transport := newTransport(cfg.TLS)
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport,
		// A redirect leads to a login page, or takes the credentials elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("kibana: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end, or given up
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("kibana: read the answer: %w", err)
	}
	return imported(res.StatusCode, b)
}

// imported reads Kibana's answer to an import.
func imported(status int, body []byte) error {
	var answer struct {
		Success *bool  `json:"success"`
		Message string `json:"message"`
		Errors  []struct {
			ID    string `json:"id"`
			Type  string `json:"type"`
			Error struct {
				Type       string `json:"type"`
				Message    string `json:"message"`
				References []struct {
					Type string `json:"type"`
					ID   string `json:"id"`
				} `json:"references"`
			} `json:"error"`
		} `json:"errors"`
	}
	err := json.Unmarshal(body, &answer)
	switch {
	case status != http.StatusOK && answer.Message != "":
		return fmt.Errorf("kibana: status %d: %s", status, answer.Message)
	case status != http.StatusOK:
		return fmt.Errorf("kibana: status %d", status)
	case err != nil || answer.Success == nil:
		return errors.New("kibana: an answer that is not Kibana's")
	}
	var problems []error
	for _, e := range answer.Errors {
		parts := []string{fmt.Sprintf("kibana: %s %s: %s", e.Type, e.ID, e.Error.Type)}
		if e.Error.Message != "" {
			parts = append(parts, e.Error.Message)
		}
		for _, r := range e.Error.References {
			parts = append(parts, r.Type+" "+r.ID)
		}
		problems = append(problems, errors.New(strings.Join(parts, ": ")))
	}
	if len(problems) == 0 && !*answer.Success {
		problems = append(problems, errors.New("kibana: the import failed without a reason"))
	}
	return errors.Join(problems...)
}
