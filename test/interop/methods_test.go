package interop

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/minio/kms-go/kes"
)

// A key, and something that was sealed with it.
type subject struct {
	name       string
	ciphertext []byte
}

type method struct {
	name string
	// What a valid certificate is enough for.
	isForAnyone bool
	call        func(context.Context, *kes.Client, subject) error
}

// In an order in which an admin can do all of it.
var methods = []method{
	{"Version", true, func(ctx context.Context, c *kes.Client, s subject) error {
		_, err := c.Version(ctx)
		return err
	}},
	{"IsReady", false, func(ctx context.Context, c *kes.Client, s subject) error {
		isReady, err := c.IsReady(ctx)
		if err == nil && !isReady {
			return errors.New("not ready")
		}
		return err
	}},
	{"Status", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, err := c.Status(ctx)
		return err
	}},
	{"APIs", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, err := c.APIs(ctx)
		return err
	}},
	{"Metrics", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, err := c.Metrics(ctx)
		return err
	}},
	{"CreateKey", false, func(ctx context.Context, c *kes.Client, s subject) error {
		return c.CreateKey(ctx, s.name+"-created")
	}},
	{"ImportKey", false, func(ctx context.Context, c *kes.Client, s subject) error {
		return c.ImportKey(ctx, s.name+"-imported", &kes.ImportKeyRequest{Key: make([]byte, 32)})
	}},
	{"DescribeKey", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, err := c.DescribeKey(ctx, s.name)
		return err
	}},
	{"DeleteKey", false, func(ctx context.Context, c *kes.Client, s subject) error {
		return c.DeleteKey(ctx, s.name+"-created")
	}},
	{"GenerateKey", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, err := c.GenerateKey(ctx, s.name, nil)
		return err
	}},
	{"Encrypt", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, err := c.Encrypt(ctx, s.name, []byte("plaintext"), nil)
		return err
	}},
	{"Decrypt", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, err := c.Decrypt(ctx, s.name, s.ciphertext, nil)
		return err
	}},
	{"HMAC", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, err := c.HMAC(ctx, s.name, []byte("message"))
		return err
	}},
	{"ListKeys", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, _, err := c.ListKeys(ctx, s.name, -1)
		return err
	}},
	{"DescribePolicy", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, err := c.DescribePolicy(ctx, "my-app")
		return err
	}},
	{"GetPolicy", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, err := c.GetPolicy(ctx, "my-app")
		return err
	}},
	{"ListPolicies", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, _, err := c.ListPolicies(ctx, "", -1)
		return err
	}},
	{"DescribeIdentity", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, err := c.DescribeIdentity(ctx, appKey.Identity())
		return err
	}},
	{"DescribeSelf", true, func(ctx context.Context, c *kes.Client, s subject) error {
		_, _, err := c.DescribeSelf(ctx)
		return err
	}},
	{"ListIdentities", false, func(ctx context.Context, c *kes.Client, s subject) error {
		_, _, err := c.ListIdentities(ctx, "", -1)
		return err
	}},
	{"AuditLog", false, func(ctx context.Context, c *kes.Client, s subject) error {
		stream, err := c.AuditLog(ctx)
		if err == nil {
			return stream.Close()
		}
		return err
	}},
	{"ErrorLog", false, func(ctx context.Context, c *kes.Client, s subject) error {
		stream, err := c.ErrorLog(ctx)
		if err == nil {
			return stream.Close()
		}
		return err
	}},
}

func newSubject(t *testing.T, prefix string) subject {
	t.Helper()
	admin, name := connect(t, adminKey), unused(prefix)
	ok(t, admin.CreateKey(background(t), name))
	ciphertext, err := admin.Encrypt(background(t), name, []byte("plaintext"), nil)
	ok(t, err)
	return subject{name, ciphertext}
}

func TestNoMethodOfTheClientIsForgotten(t *testing.T) {
	isKnown := map[string]bool{}
	for _, method := range methods {
		isKnown[method.name] = true
	}
	client := reflect.TypeFor[*kes.Client]()
	for i := range client.NumMethod() {
		if name := client.Method(i).Name; !isKnown[name] {
			t.Errorf("%s is not tried", name)
		}
	}
}

func TestTheAdminMayCallEveryMethod(t *testing.T) {
	admin, subject := connect(t, adminKey), newSubject(t, "admins-")
	for _, method := range methods {
		t.Run(method.name, func(t *testing.T) {
			ok(t, method.call(background(t), admin, subject))
		})
	}
}

func TestAStrangerMayAskForTheVersionAndForHimselfOnly(t *testing.T) {
	nobody, subject := connect(t, stranger(t)), newSubject(t, "admins-")
	for _, method := range methods {
		t.Run(method.name, func(t *testing.T) {
			err := method.call(background(t), nobody, subject)
			if method.isForAnyone {
				ok(t, err)
			} else {
				wants(t, err, kes.ErrNotAllowed)
			}
		})
	}
}

// The SDK can judge a policy, too: MinIO shows its users what a policy allows in this way.
func TestTheServerJudgesAPolicyAsTheSDKDoes(t *testing.T) {
	policy, err := connect(t, adminKey).GetPolicy(background(t), "my-app")
	ok(t, err)
	app := connect(t, appKey)
	seen := observe(app)
	for _, prefix := range []string{"my-app-", "my-app-sealed-", "my-apple-", "others-"} {
		subject := newSubject(t, prefix)
		for _, method := range methods {
			if method.isForAnyone {
				continue
			}
			t.Run(prefix+"/"+method.name, func(t *testing.T) {
				err := method.call(background(t), app, subject)
				got := !errors.Is(err, kes.ErrNotAllowed)
				equal(t, "allowed", got, policy.Verify(seen.request) == nil)
			})
		}
	}
}
