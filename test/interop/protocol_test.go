package interop

import (
	"crypto/tls"
	"errors"
	"net/http"
	"testing"

	"github.com/minio/kms-go/kes"
)

// http1 is a client that does not know HTTP/2.
func http1(t *testing.T, key kes.APIKey) *kes.Client {
	t.Helper()
	client := connect(t, key)
	transport(client).ForceAttemptHTTP2 = false
	transport(client).TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	return client
}

// withCertificate is a client with the key and certificate that the command line made.
func withCertificate(t *testing.T) *kes.Client {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(certFiles.cert, certFiles.key)
	ok(t, err)
	client := kes.NewClientWithConfig(first, trust(certificate))
	t.Cleanup(client.HTTPClient.CloseIdleConnections)
	return client
}

func TestTheSDKSpeaksHTTP2(t *testing.T) {
	app, name := connect(t, appKey), newKey(t)
	seen := observe(app)
	workWith(t, app, name)
	equal(t, "answers over HTTP/2.0 h2", seen.protocols["HTTP/2.0 h2"], 3)
	equal(t, "protocols", len(seen.protocols), 1)
}

func TestAClientOfHTTP1IsServedAsWell(t *testing.T) {
	app, name := http1(t, appKey), newKey(t)
	seen := observe(app)
	workWith(t, app, name)
	// The second word would be the protocol that ALPN agreed on: such a client offers none.
	equal(t, "answers over HTTP/1.1", seen.protocols["HTTP/1.1 "], 3)
	equal(t, "protocols", len(seen.protocols), 1)
}

func TestAClientOfTLS12IsServedAsWell(t *testing.T) {
	app, name := connect(t, appKey), newKey(t)
	transport(app).TLSClientConfig.MaxVersion = tls.VersionTLS12
	workWith(t, app, name)
}

func TestAClientOfTLS11IsNot(t *testing.T) {
	app := connect(t, appKey)
	transport(app).TLSClientConfig.MinVersion = tls.VersionTLS10
	transport(app).TLSClientConfig.MaxVersion = tls.VersionTLS11
	_, err := app.Version(background(t))
	var answer kes.Error
	if err == nil || errors.As(err, &answer) {
		t.Fatalf("got %v instead of a failed handshake", err)
	}
}

func TestAClientWithoutCertificateGetsNoAnswer(t *testing.T) {
	client := kes.NewClientWithConfig(first, trust())
	t.Cleanup(client.HTTPClient.CloseIdleConnections)
	_, err := client.Version(background(t))
	var answer kes.Error
	if err == nil || errors.As(err, &answer) {
		t.Fatalf("got %v instead of a closed connection", err)
	}
}

func TestOneConnectionServesManyCalls(t *testing.T) {
	name := newKey(t)
	for protocol, app := range map[string]*kes.Client{
		"HTTP/2":   connect(t, appKey),
		"HTTP/1.1": http1(t, appKey),
	} {
		t.Run(protocol, func(t *testing.T) {
			dials := countDials(app)
			for range 50 {
				_, err := app.GenerateKey(background(t), name, nil)
				ok(t, err)
				_, err = app.GenerateKey(background(t), name+"-absent", nil)
				wants(t, err, kes.ErrKeyNotFound)
			}
			equal(t, "connections", int(dials.Load()), 1)
		})
	}
}

func workWith(t *testing.T, client *kes.Client, name string) {
	t.Helper()
	dek, err := client.GenerateKey(background(t), name, []byte("context"))
	ok(t, err)
	opened, err := client.Decrypt(background(t), name, dek.Ciphertext, []byte("context"))
	ok(t, err)
	equal(t, "plaintext", string(opened), string(dek.Plaintext))
	_, err = client.Decrypt(background(t), name, dek.Ciphertext, []byte("another"))
	wants(t, err, kes.ErrDecrypt)
}
