package interop

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/minio/kms-go/kes"
)

func TestTwoServersOnOneDirectory(t *testing.T) {
	if !t.Run("are one to their clients", testOneDirectory) {
		return
	}
	if t.Run("and one of them may be absent", testAbsentServer) {
		// Last: the second server does not come back.
		t.Run("and one of them may stop under load", testStoppingServer)
	}
}

func testOneDirectory(t *testing.T) {
	here, there, name := connect(t, appKey, first), connect(t, appKey, second), unused("my-app-")
	ok(t, here.CreateKey(background(t), name))
	wants(t, there.CreateKey(background(t), name), kes.ErrKeyExists)
	dek, err := here.GenerateKey(background(t), name, []byte("context"))
	ok(t, err)
	opened, err := there.Decrypt(background(t), name, dek.Ciphertext, []byte("context"))
	ok(t, err)
	equal(t, "plaintexts are equal", bytes.Equal(opened, dek.Plaintext), true)
	sum, err := here.HMAC(background(t), name, []byte("message"))
	ok(t, err)
	again, err := there.HMAC(background(t), name, []byte("message"))
	ok(t, err)
	equal(t, "HMACs are equal", bytes.Equal(sum, again), true)
	names, _, err := there.ListKeys(background(t), name, -1)
	ok(t, err)
	equal(t, "keys listed", len(names), 1)

	// Of two servers' concurrent creates, too, exactly one wins.
	for range 20 {
		name := unused("my-app-")
		errs := make(chan error, 2)
		for _, client := range []*kes.Client{here, there} {
			go func() { errs <- client.CreateKey(background(t), name) }()
		}
		a, b := <-errs, <-errs
		if a == nil {
			a, b = b, a
		}
		wants(t, a, kes.ErrKeyExists)
		ok(t, b)
	}
}

func testAbsentServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	absent := "https://" + listener.Addr().String()
	ok(t, listener.Close())
	name := newKey(t)
	app, seen := preferring(t, absent, first)
	for range 10 {
		workWith(t, app, name)
	}
	if seen.tries(absent) == 0 || seen.tries(first) < 30 {
		t.Errorf("tries: %v", seen.hosts)
	}
}

func testStoppingServer(t *testing.T) {
	name := newKey(t)
	app, seen := preferring(t, second, first)
	follower := connect(t, adminKey, second)
	log, err := follower.AuditLog(background(t))
	ok(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for log.Next() {
		}
		_ = log.Close()
	}()
	idle := connect(t, appKey, second)
	workWith(t, idle, name)

	ctx := background(t)
	var calls atomic.Int32
	failures, done := make(chan error, 20), make(chan struct{})
	var running sync.WaitGroup
	for range 20 {
		running.Add(1)
		go func() {
			defer running.Done()
			for {
				select {
				case <-done:
					return
				case <-time.After(2 * time.Millisecond):
				}
				dek, err := app.GenerateKey(ctx, name, []byte("context"))
				if err == nil {
					_, err = app.Decrypt(ctx, name, dek.Ciphertext, []byte("context"))
				}
				if err != nil {
					failures <- err
					return
				}
				calls.Add(2)
			}
		}()
	}

	time.Sleep(500 * time.Millisecond)
	before := calls.Load()
	ok(t, syscall.Kill(secondPID, syscall.SIGTERM))
	stopped := time.Now()
	for isListening(second) {
		if time.Since(stopped) > 10*time.Second {
			t.Fatal("the second server does not stop")
		}
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the log goes on")
	}
	// Long enough for the SDK to try the dead one, wait and turn to the other: up to 2 s.
	time.Sleep(3 * time.Second)
	close(done)
	running.Wait()
	if len(failures) > 0 {
		t.Fatalf("%d of 20 workers failed after %d calls, one with: %v", len(failures), before, <-failures)
	}
	if before == 0 || calls.Load() == before || seen.tries(first) == 0 {
		t.Errorf("%d calls before, %d in all; tries: %v", before, calls.Load(), seen.hosts)
	}
	t.Logf("%d calls before the second server stopped, %d in all; tries: %v", before, calls.Load(), seen.hosts)

	// Who knows the second server only is told that it cannot be reached.
	_, err = idle.GenerateKey(background(t), name, nil)
	if _, isConnError := kes.IsConnError(err); !isConnError {
		t.Errorf("got %v instead of a connection error", err)
	}
	var answer kes.Error
	equal(t, "an answer", errors.As(err, &answer), false)
}

// preferring makes a client of two endpoints that turns to `favourite` first. The SDK sorts endpoints on one host as
// it likes, so it takes a few tries.
func preferring(t *testing.T, favourite, other string) (*kes.Client, *witness) {
	t.Helper()
	for range 50 {
		client := connect(t, appKey, favourite, other)
		seen := observe(client)
		_, err := client.Version(background(t))
		ok(t, err)
		if seen.tries(favourite) > 0 {
			return client, seen
		}
	}
	t.Fatal("the SDK never turns to that endpoint first")
	return nil, nil
}

func isListening(endpoint string) bool {
	conn, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "https://"))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
