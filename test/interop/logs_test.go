package interop

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/kms-go/kes"
)

func TestTheAuditLogHasEveryCall(t *testing.T) {
	name := unused("my-app-")
	admin, app, nobody := connect(t, adminKey), connect(t, appKey), stranger(t)
	for protocol, listener := range map[string]*kes.Client{
		"HTTP/2":   connect(t, adminKey),
		"HTTP/1.1": http1(t, adminKey),
	} {
		t.Run(protocol, func(t *testing.T) {
			name := name + strings.ToLower(protocol[5:6])
			events := follow(t, func(ctx context.Context) (stream[kes.AuditEvent], error) { return listener.AuditLog(ctx) })

			type call struct {
				path     string
				key      kes.APIKey
				status   int
				from, to time.Time
			}
			var calls []call
			record := func(path string, key kes.APIKey, work func() error) {
				from := time.Now()
				err := work()
				var refusal kes.Error
				status := http.StatusOK
				if errors.As(err, &refusal) {
					status = refusal.Status()
				} else {
					ok(t, err)
				}
				calls = append(calls, call{path + name, key, status, from, time.Now()})
			}
			record("/v1/key/generate/", appKey, func() error { _, err := app.GenerateKey(background(t), name, nil); return err })
			record("/v1/key/create/", adminKey, func() error { return admin.CreateKey(background(t), name) })
			record("/v1/key/create/", adminKey, func() error { return admin.CreateKey(background(t), name) })
			record("/v1/key/generate/", appKey, func() error { _, err := app.GenerateKey(background(t), name, nil); return err })
			record("/v1/key/decrypt/", appKey, func() error { _, err := app.Decrypt(background(t), name, random(60), nil); return err })
			record("/v1/key/decrypt/", nobody, func() error {
				_, err := connect(t, nobody).Decrypt(background(t), name, nil, nil)
				return err
			})
			record("/v1/key/list/", appKey, func() error { _, _, err := app.ListKeys(background(t), name, -1); return err })
			record("/v1/key/delete/", appKey, func() error { return app.DeleteKey(background(t), name) })
			record("/v1/key/delete/", adminKey, func() error { return admin.DeleteKey(background(t), name) })

			for _, want := range calls {
				got := next(t, events, func(event kes.AuditEvent) bool { return strings.HasSuffix(event.APIPath, name) })
				equal(t, "APIPath", got.APIPath, want.path)
				equal(t, "ClientIdentity", got.ClientIdentity, want.key.Identity())
				equal(t, "ClientIP", got.ClientIP.String(), "127.0.0.1")
				equal(t, "StatusCode of "+want.path, got.StatusCode, want.status)
				during(t, "Timestamp", got.Timestamp, want.from, want.to)
				// In another unit than nanoseconds it would be out of these bounds.
				if took := want.to.Sub(want.from); got.ResponseTime < time.Microsecond || got.ResponseTime > took {
					t.Errorf("%s: ResponseTime is %v of %v", want.path, got.ResponseTime, took)
				}
			}
			for i, want := range []int{404, 200, 400, 200, 400, 403, 200, 403, 200} {
				equal(t, "status of "+calls[i].path, calls[i].status, want)
			}
		})
	}
}

func TestTheErrorLogHasEveryFailure(t *testing.T) {
	app, admin, name := connect(t, appKey), connect(t, adminKey), newKey(t)
	secret := unused("secret")
	for protocol, listener := range map[string]*kes.Client{
		"HTTP/2":   connect(t, adminKey),
		"HTTP/1.1": http1(t, adminKey),
	} {
		t.Run(protocol, func(t *testing.T) {
			events := follow(t, func(ctx context.Context) (stream[kes.ErrorEvent], error) { return listener.ErrorLog(ctx) })
			_, err := app.Decrypt(background(t), name, []byte(secret), []byte(secret))
			wants(t, err, kes.ErrDecrypt)
			_, err = app.DescribeKey(background(t), name+"-absent")
			wants(t, err, kes.ErrKeyNotFound)
			_, err = admin.GenerateKey(background(t), name, nil)
			ok(t, err)
			_, err = connect(t, stranger(t)).GenerateKey(background(t), name, nil)
			wants(t, err, kes.ErrNotAllowed)

			for _, want := range []struct {
				path  string
				error error
				who   kes.Identity
			}{
				{"/v1/key/decrypt/" + name, kes.ErrDecrypt, appKey.Identity()},
				{"/v1/key/describe/" + name + "-absent", kes.ErrKeyNotFound, appKey.Identity()},
				{"/v1/key/generate/" + name, kes.ErrNotAllowed, ""},
			} {
				message := next(t, events, func(event kes.ErrorEvent) bool { return strings.Contains(event.Message, name) }).Message
				for _, part := range []string{want.path, want.error.Error(), want.who.String()} {
					if !strings.Contains(message, part) {
						t.Errorf("%q is not in %q", part, message)
					}
				}
				if strings.ContainsAny(message, "\r\n") || strings.Contains(message, secret) {
					t.Errorf("more than one line, or part of a body: %q", message)
				}
			}
		})
	}
}

func TestALogHasAnyNumberOfFollowers(t *testing.T) {
	admin, name := connect(t, adminKey), newKey(t)
	var followers []<-chan kes.AuditEvent
	for range 20 {
		followers = append(followers, follow(t, func(ctx context.Context) (stream[kes.AuditEvent], error) {
			return connect(t, adminKey).AuditLog(ctx)
		}))
	}
	_, err := admin.HMAC(background(t), name, nil)
	ok(t, err)
	for _, events := range followers {
		event := next(t, events, func(event kes.AuditEvent) bool { return strings.HasSuffix(event.APIPath, name) })
		equal(t, "APIPath", event.APIPath, "/v1/key/hmac/"+name)
	}
}

// A policy that allows nothing but the logs: what an auditor has.
func TestAnAuditorNeedsNoMoreThanHisPolicy(t *testing.T) {
	auditor := withCertificate(t)
	for _, open := range []func() (interface{ Close() error }, error){
		func() (interface{ Close() error }, error) { return auditor.AuditLog(background(t)) },
		func() (interface{ Close() error }, error) { return auditor.ErrorLog(background(t)) },
	} {
		stream, err := open()
		ok(t, err)
		ok(t, stream.Close())
	}
	_, err := auditor.Metrics(background(t))
	wants(t, err, kes.ErrNotAllowed)
}

type stream[T any] interface {
	Next() bool
	Event() T
	Close() error
}

// follow opens a log and reads it until the test ends. The server must answer at once: it has nothing to wait for.
func follow[T any](t *testing.T, open func(context.Context) (stream[T], error)) <-chan T {
	t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithCancel(background(t))
	log, err := open(ctx)
	ok(t, err)
	if took := time.Since(begin); took > 5*time.Second {
		t.Fatalf("the log was opened after %v", took)
	}
	events, done := make(chan T, 1000), make(chan struct{})
	go func() {
		defer close(done)
		defer close(events)
		defer log.Close()
		for log.Next() {
			events <- log.Event()
		}
	}()
	// The SDK's streams may not be closed while somebody else reads them.
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return events
}

// next is the first event that is wanted: other calls make events, too.
func next[T any](t *testing.T, events <-chan T, isWanted func(T) bool) T {
	t.Helper()
	late := time.After(patience / 4)
	for {
		select {
		case event, isOpen := <-events:
			if !isOpen {
				t.Fatal("the log has ended")
			}
			if isWanted(event) {
				return event
			}
		case <-late:
			t.Fatal("there is no such event")
		}
	}
}
