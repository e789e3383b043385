package interop

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/kms-go/kes"
)

func TestTheVersionIsTheOneOfTheStatus(t *testing.T) {
	admin := connect(t, adminKey)
	version, err := admin.Version(background(t))
	ok(t, err)
	status, err := admin.Status(background(t))
	ok(t, err)
	if version == "" {
		t.Fatal("the version is empty")
	}
	equal(t, "version of the status", status.Version, version)
}

func TestTheStatusDescribesTheServer(t *testing.T) {
	status, err := connect(t, adminKey).Status(background(t))
	ok(t, err)
	// It runs on this machine.
	equal(t, "OS", status.OS, runtime.GOOS)
	equal(t, "Arch", status.Arch, runtime.GOARCH)
	equal(t, "KeyStoreReachable", status.KeyStoreReachable, true)
	equal(t, "KeystoreAvailable", status.KeystoreAvailable, true)
	// The SDK takes the whole number on the wire for nanoseconds; 0 would mean that there is no keystore.
	if status.KeyStoreLatency <= 0 {
		t.Errorf("KeyStoreLatency is %v", status.KeyStoreLatency)
	}
	if status.CPUs < 1 || status.UsableCPUs < 1 || status.HeapAlloc == 0 {
		t.Errorf("no machine looks like this: %+v", status)
	}
	if status.UpTime < 0 || status.UpTime > time.Hour {
		t.Errorf("UpTime is %v", status.UpTime)
	}
}

func TestAServerWithItsKeystoreIsReady(t *testing.T) {
	isReady, err := connect(t, adminKey).IsReady(background(t))
	ok(t, err)
	equal(t, "ready", isReady, true)
}

func TestTheAPIsAreListedWithTheirLimits(t *testing.T) {
	apis, err := connect(t, adminKey).APIs(background(t))
	ok(t, err)
	if !slices.IsSortedFunc(apis, func(a, b kes.API) int { return strings.Compare(a.Path, b.Path) }) {
		t.Error("they are not sorted by path")
	}
	const limit = 15 * time.Second
	for _, want := range []kes.API{
		{Method: "GET", Path: "/version", Timeout: limit},
		{Method: "GET", Path: "/v1/ready", Timeout: limit},
		{Method: "GET", Path: "/v1/status", Timeout: limit},
		{Method: "GET", Path: "/v1/metrics", Timeout: limit},
		{Method: "GET", Path: "/v1/api", Timeout: limit},
		{Method: "PUT", Path: "/v1/key/create/", Timeout: limit},
		{Method: "PUT", Path: "/v1/key/import/", MaxBody: 1 << 20, Timeout: limit},
		{Method: "GET", Path: "/v1/key/describe/", Timeout: limit},
		{Method: "DELETE", Path: "/v1/key/delete/", Timeout: limit},
		{Method: "GET", Path: "/v1/key/list/", Timeout: limit},
		{Method: "PUT", Path: "/v1/key/generate/", MaxBody: 1 << 20, Timeout: limit},
		{Method: "PUT", Path: "/v1/key/encrypt/", MaxBody: 1 << 20, Timeout: limit},
		{Method: "PUT", Path: "/v1/key/decrypt/", MaxBody: 2 << 20, Timeout: limit},
		{Method: "PUT", Path: "/v1/key/hmac/", MaxBody: 1 << 20, Timeout: limit},
		{Method: "GET", Path: "/v1/policy/describe/", Timeout: limit},
		{Method: "GET", Path: "/v1/policy/read/", Timeout: limit},
		{Method: "GET", Path: "/v1/policy/list/", Timeout: limit},
		{Method: "GET", Path: "/v1/identity/describe/", Timeout: limit},
		{Method: "GET", Path: "/v1/identity/self/describe", Timeout: limit},
		{Method: "GET", Path: "/v1/identity/list/", Timeout: limit},
		{Method: "GET", Path: "/v1/log/audit"},
		{Method: "GET", Path: "/v1/log/error"},
	} {
		if !slices.Contains(apis, want) {
			t.Errorf("%+v is not listed", want)
		}
	}
}
