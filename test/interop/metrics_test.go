package interop

import (
	"slices"
	"testing"
	"time"

	"github.com/minio/kms-go/kes"
)

func TestTheMetricsCountEveryCall(t *testing.T) {
	admin, name := connect(t, adminKey), newKey(t)
	before := metrics(t, admin)
	for range 7 {
		_, err := admin.GenerateKey(background(t), name, nil)
		ok(t, err)
	}
	for range 3 {
		_, err := admin.DescribeKey(background(t), unused("absent-"))
		wants(t, err, kes.ErrKeyNotFound)
	}
	for range 2 {
		_, err := connect(t, stranger(t)).Status(background(t))
		wants(t, err, kes.ErrNotAllowed)
	}
	after := metrics(t, admin)

	// The call for the metrics is one of those that succeed; what it answers does not have itself.
	equal(t, "RequestOK", after.RequestOK-before.RequestOK, 7+1)
	equal(t, "RequestErr", after.RequestErr-before.RequestErr, 3+2)
	equal(t, "RequestFail", after.RequestFail, 0)
	equal(t, "RequestN", after.RequestN()-before.RequestN(), 7+3+2+1)
	equal(t, "RequestActive", after.RequestActive, 0)
	equal(t, "AuditEvents", after.AuditEvents-before.AuditEvents, 7+3+2+1)
	equal(t, "ErrorEvents", after.ErrorEvents-before.ErrorEvents, 3+2)
	if after.UpTime < before.UpTime || after.UpTime > time.Hour {
		t.Errorf("UpTime went from %v to %v", before.UpTime, after.UpTime)
	}
}

func TestTheLatencyHistogramHasEveryAnswer(t *testing.T) {
	metric := metrics(t, connect(t, adminKey))
	var bounds []time.Duration
	for bound := range metric.LatencyHistogram {
		bounds = append(bounds, bound)
	}
	slices.Sort(bounds)
	if len(bounds) < 5 {
		t.Fatalf("the histogram has the bounds %v", bounds)
	}
	counts := make([]uint64, len(bounds))
	for i, bound := range bounds {
		counts[i] = metric.LatencyHistogram[bound]
	}
	equal(t, "the counts never go down", slices.IsSorted(counts), true)
	equal(t, "answers within the largest bound", counts[len(counts)-1], metric.RequestN())
}

func TestTheMetricsDescribeTheMachine(t *testing.T) {
	metric := metrics(t, connect(t, adminKey))
	if metric.CPUs < 1 || metric.UsableCPUs < 1 || metric.UsableCPUs > metric.CPUs || metric.Threads < 1 {
		t.Errorf("no machine looks like this: %+v", metric)
	}
	if metric.HeapAlloc < 1<<20 || metric.HeapAlloc > 1<<32 {
		t.Errorf("the heap has %d bytes", metric.HeapAlloc)
	}
}

func metrics(t *testing.T, client *kes.Client) kes.Metric {
	t.Helper()
	metric, err := client.Metrics(background(t))
	ok(t, err)
	return metric
}
