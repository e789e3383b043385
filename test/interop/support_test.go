// Package interop drives OpenKES with the Go SDK that MinIO is built with.
//
// Starting servers is not its business: `npm run interop` starts two on one directory and says in
// OPENKES_INTEROP_* where they are. Only what the current API serves is here: the SDK's enclave and cluster
// types belong to generations of KES whose routes come later, and its Client has no methods for them.
package interop

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/minio/kms-go/kes"
)

// A call that takes longer than this has failed.
const patience = 20 * time.Second

// What the runner says. Only failover_test.go may touch the second server: it stops it.
var (
	first, second string
	secondPID     int
	roots         *x509.CertPool
	adminKey      kes.APIKey
	appKey        kes.APIKey
	certIdentity  kes.Identity
	certFiles     struct{ key, cert string }
)

func TestMain(m *testing.M) {
	if err := readSettings(); err != nil {
		// Not a skip: tests that nobody notices are missing prove nothing.
		fmt.Fprintf(os.Stderr, "%v: run these tests with `npm run interop`\n", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func readSettings() (err error) {
	setting := func(name string) string {
		value := os.Getenv("OPENKES_INTEROP_" + name)
		if value == "" && err == nil {
			err = fmt.Errorf("OPENKES_INTEROP_%s is not set", name)
		}
		return value
	}
	first, second = setting("FIRST"), setting("SECOND")
	pid, admin, app := setting("SECOND_PID"), setting("ADMIN"), setting("APP")
	certificate := setting("SERVER_CERT")
	certIdentity = kes.Identity(setting("CLIENT_IDENTITY"))
	certFiles.key, certFiles.cert = setting("CLIENT_KEY"), setting("CLIENT_CERT")
	if err != nil {
		return err
	}
	if secondPID, err = strconv.Atoi(pid); err != nil {
		return err
	}
	if adminKey, err = kes.ParseAPIKey(admin); err != nil {
		return err
	}
	if appKey, err = kes.ParseAPIKey(app); err != nil {
		return err
	}
	pem, err := os.ReadFile(certificate)
	if err != nil {
		return err
	}
	roots = x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("the server's certificate is not PEM")
	}
	return nil
}

// connect makes a client as an application does, but one that trusts the server's own certificate.
func connect(t *testing.T, key kes.APIKey, endpoints ...string) *kes.Client {
	t.Helper()
	if len(endpoints) == 0 {
		endpoints = []string{first}
	}
	client, err := kes.NewClient(endpoints[0], key)
	ok(t, err)
	client.Endpoints = endpoints
	transport(client).TLSClientConfig.RootCAs = roots
	t.Cleanup(client.HTTPClient.CloseIdleConnections)
	return client
}

func transport(client *kes.Client) *http.Transport {
	return client.HTTPClient.Transport.(*http.Transport)
}

// trust is the TLS side of a client with that certificate.
func trust(certificates ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: roots, Certificates: certificates}
}

// stranger is somebody whom the server has never heard of.
func stranger(t *testing.T) kes.APIKey {
	t.Helper()
	key, err := kes.GenerateAPIKey(nil)
	ok(t, err)
	return key
}

func background(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// abandoned is a context that is given up while its call is under way.
func abandoned(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(background(t))
	go cancel()
	return ctx
}

// unused is a name that no other test has.
func unused(prefix string) string {
	var random [6]byte
	_, _ = rand.Read(random[:])
	return prefix + hex.EncodeToString(random[:])
}

// newKey makes a key that the app may use.
func newKey(t *testing.T) string {
	t.Helper()
	name := unused("my-app-")
	ok(t, connect(t, adminKey).CreateKey(background(t), name))
	return name
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

func wants(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want %v", err, target)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// during says whether a time that the server gave lies between two of ours; servers cut off fractions.
func during(t *testing.T, what string, got, from, to time.Time) {
	t.Helper()
	if got.Before(from.Add(-time.Second)) || got.After(to.Add(time.Second)) {
		t.Fatalf("%s: %v is not between %v and %v", what, got, from, to)
	}
}

// witness is a transport that remembers what passed through it.
type witness struct {
	http.RoundTripper
	lock      sync.Mutex
	hosts     map[string]int // tries by host
	protocols map[string]int // answers by protocol
	request   *http.Request  // the last one
}

func observe(client *kes.Client) *witness {
	w := &witness{
		RoundTripper: client.HTTPClient.Transport,
		hosts:        map[string]int{},
		protocols:    map[string]int{},
	}
	client.HTTPClient.Transport = w
	return w
}

func (w *witness) RoundTrip(request *http.Request) (*http.Response, error) {
	w.lock.Lock()
	w.hosts[request.URL.Scheme+"://"+request.URL.Host]++
	w.request = request
	w.lock.Unlock()
	response, err := w.RoundTripper.RoundTrip(request)
	if err == nil {
		w.lock.Lock()
		w.protocols[response.Proto+" "+response.TLS.NegotiatedProtocol]++
		w.lock.Unlock()
	}
	return response, err
}

func (w *witness) CloseIdleConnections() {
	w.RoundTripper.(*http.Transport).CloseIdleConnections()
}

func (w *witness) tries(host string) int {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.hosts[host]
}
