package interop

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/minio/kms-go/kes"
)

func TestANewKeyIsDescribedWithItsMaker(t *testing.T) {
	app, name, before := connect(t, appKey), unused("my-app-"), time.Now()
	ok(t, app.CreateKey(background(t), name))
	info, err := app.DescribeKey(background(t), name)
	ok(t, err)
	equal(t, "Name", info.Name, name)
	equal(t, "Algorithm", info.Algorithm, kes.AES256)
	equal(t, "CreatedBy", info.CreatedBy, appKey.Identity())
	during(t, "CreatedAt", info.CreatedAt, before, time.Now())
}

func TestADeletedKeyIsGoneAndItsNameFree(t *testing.T) {
	admin, name := connect(t, adminKey), newKey(t)
	sealed, err := admin.Encrypt(background(t), name, []byte("plaintext"), nil)
	ok(t, err)
	ok(t, admin.DeleteKey(background(t), name))
	_, err = admin.DescribeKey(background(t), name)
	wants(t, err, kes.ErrKeyNotFound)
	_, err = admin.Decrypt(background(t), name, sealed, nil)
	wants(t, err, kes.ErrKeyNotFound)

	ok(t, admin.CreateKey(background(t), name))
	_, err = admin.Decrypt(background(t), name, sealed, nil)
	wants(t, err, kes.ErrDecrypt)
}

func TestAnImportedKeyKeepsItsAlgorithm(t *testing.T) {
	admin := connect(t, adminKey)
	for _, cipher := range []kes.KeyAlgorithm{kes.AES256, kes.ChaCha20} {
		t.Run(cipher.String(), func(t *testing.T) {
			name, before := unused("my-app-"), time.Now()
			ok(t, admin.ImportKey(background(t), name, &kes.ImportKeyRequest{Key: random(32), Cipher: cipher}))
			info, err := admin.DescribeKey(background(t), name)
			ok(t, err)
			equal(t, "Algorithm", info.Algorithm, cipher)
			equal(t, "CreatedBy", info.CreatedBy, adminKey.Identity())
			during(t, "CreatedAt", info.CreatedAt, before, time.Now())

			sealed, err := admin.Encrypt(background(t), name, []byte("plaintext"), []byte("context"))
			ok(t, err)
			opened, err := admin.Decrypt(background(t), name, sealed, []byte("context"))
			ok(t, err)
			equal(t, "plaintext", string(opened), "plaintext")
		})
	}
}

// What a migration rests on: the bytes are the key, its name is not part of it.
func TestTheSameBytesUnderTwoNamesOpenEachOthersCiphertexts(t *testing.T) {
	admin, request := connect(t, adminKey), kes.ImportKeyRequest{Key: random(32)}
	names := [2]string{unused("my-app-"), unused("my-app-")}
	for _, name := range names {
		ok(t, admin.ImportKey(background(t), name, &request))
	}
	dek, err := admin.GenerateKey(background(t), names[0], []byte("context"))
	ok(t, err)
	opened, err := admin.Decrypt(background(t), names[1], dek.Ciphertext, []byte("context"))
	ok(t, err)
	equal(t, "plaintexts are equal", bytes.Equal(opened, dek.Plaintext), true)
}

func TestAKeyOfTheWrongSizeIsNotImported(t *testing.T) {
	for _, size := range []int{0, 16, 31, 33, 64} {
		request := kes.ImportKeyRequest{Key: random(size), Cipher: kes.ChaCha20}
		err := connect(t, adminKey).ImportKey(background(t), unused("my-app-"), &request)
		wants(t, err, kes.NewError(406, "invalid key size for 'ChaCha20'"))
	}
}

func TestADataKeyIsOpenedToTheSameBytes(t *testing.T) {
	app, name := connect(t, appKey), newKey(t)
	for _, context := range contexts() {
		dek, err := app.GenerateKey(background(t), name, context)
		ok(t, err)
		equal(t, "size of the data key", len(dek.Plaintext), 32)
		opened, err := app.Decrypt(background(t), name, dek.Ciphertext, context)
		ok(t, err)
		equal(t, "plaintexts are equal", bytes.Equal(opened, dek.Plaintext), true)
	}
}

func TestNoTwoDataKeysAreAlike(t *testing.T) {
	app, name := connect(t, appKey), newKey(t)
	seen := map[string]bool{}
	for range 20 {
		dek, err := app.GenerateKey(background(t), name, nil)
		ok(t, err)
		seen[string(dek.Plaintext)], seen[string(dek.Ciphertext)] = true, true
	}
	equal(t, "different plaintexts and ciphertexts", len(seen), 40)
}

func TestAPlaintextOfAnySizeComesBack(t *testing.T) {
	app, name := connect(t, appKey), newKey(t)
	// The largest that the SDK reads back is below 1 MiB in base64.
	for _, size := range []int{0, 1, 32, 4096, 1 << 16, 700_000} {
		for _, context := range contexts() {
			plaintext := random(size)
			sealed, err := app.Encrypt(background(t), name, plaintext, context)
			ok(t, err)
			opened, err := app.Decrypt(background(t), name, sealed, context)
			ok(t, err)
			equal(t, "plaintexts are equal", bytes.Equal(opened, plaintext), true)
		}
	}
}

func TestAnotherContextIsRefused(t *testing.T) {
	app, name := connect(t, appKey), newKey(t)
	all := contexts()
	for sealedWith, context := range all {
		dek, err := app.GenerateKey(background(t), name, context)
		ok(t, err)
		for openedWith, other := range all {
			_, err := app.Decrypt(background(t), name, dek.Ciphertext, other)
			if len(context) == 0 && len(other) == 0 || sealedWith == openedWith {
				ok(t, err)
			} else {
				wants(t, err, kes.ErrDecrypt)
			}
		}
	}
}

func TestADamagedCiphertextIsRefused(t *testing.T) {
	app, name := connect(t, appKey), newKey(t)
	sealed, err := app.Encrypt(background(t), name, []byte("plaintext"), nil)
	ok(t, err)
	for at := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[at] ^= 1
		_, err := app.Decrypt(background(t), name, damaged, nil)
		wants(t, err, kes.ErrDecrypt)
	}
	for _, damaged := range [][]byte{nil, {}, sealed[1:], sealed[:len(sealed)-1], append(bytes.Clone(sealed), 0)} {
		_, err := app.Decrypt(background(t), name, damaged, nil)
		wants(t, err, kes.ErrDecrypt)
	}
}

func TestAnotherKeyDoesNotOpenACiphertext(t *testing.T) {
	app, name, other := connect(t, appKey), newKey(t), newKey(t)
	sealed, err := app.Encrypt(background(t), name, []byte("plaintext"), nil)
	ok(t, err)
	_, err = app.Decrypt(background(t), other, sealed, nil)
	wants(t, err, kes.ErrDecrypt)
}

func TestAnHMACDependsOnKeyAndMessageAlone(t *testing.T) {
	app, name, other := connect(t, appKey), newKey(t), newKey(t)
	sum := func(name, message string) string {
		sum, err := app.HMAC(background(t), name, []byte(message))
		ok(t, err)
		equal(t, "size of the HMAC", len(sum), 32)
		return string(sum)
	}
	equal(t, "the same again", sum(name, "message") == sum(name, "message"), true)
	equal(t, "another message", sum(name, "message") == sum(name, "another"), false)
	equal(t, "another key", sum(name, "message") == sum(other, "message"), false)
	equal(t, "no message", sum(name, "") == sum(name, ""), true)
}

func TestABodyBeyondTheLimitIsAnAnswerAndNoBrokenConnection(t *testing.T) {
	name := newKey(t)
	for protocol, app := range map[string]*kes.Client{
		"HTTP/2":   connect(t, appKey),
		"HTTP/1.1": http1(t, appKey),
	} {
		t.Run(protocol, func(t *testing.T) {
			_, err := app.Encrypt(background(t), name, random(3<<20), nil)
			wants(t, err, kes.NewError(413, "request body is too large: the limit is 1048576 bytes"))
			// And the client goes on.
			_, err = app.Encrypt(background(t), name, random(32), nil)
			ok(t, err)
		})
	}
}

func TestKeyErrorsAreTheSDKsOwn(t *testing.T) {
	admin, name, absent := connect(t, adminKey), newKey(t), unused("absent-")
	ctx := background(t)
	none := func(_ any, err error) error { return err }
	for what, pair := range map[string][2]error{
		"CreateKey of one that exists":   {admin.CreateKey(ctx, name), kes.ErrKeyExists},
		"ImportKey of one that exists":   {admin.ImportKey(ctx, name, &kes.ImportKeyRequest{Key: random(32)}), kes.ErrKeyExists},
		"DescribeKey of an absent one":   {none(admin.DescribeKey(ctx, absent)), kes.ErrKeyNotFound},
		"DeleteKey of an absent one":     {admin.DeleteKey(ctx, absent), kes.ErrKeyNotFound},
		"GenerateKey with an absent one": {none(admin.GenerateKey(ctx, absent, nil)), kes.ErrKeyNotFound},
		"Encrypt with an absent one":     {none(admin.Encrypt(ctx, absent, nil, nil)), kes.ErrKeyNotFound},
		"Decrypt with an absent one":     {none(admin.Decrypt(ctx, absent, random(60), nil)), kes.ErrKeyNotFound},
		"HMAC with an absent one":        {none(admin.HMAC(ctx, absent, nil)), kes.ErrKeyNotFound},
		"Decrypt of noise":               {none(admin.Decrypt(ctx, name, random(60), nil)), kes.ErrDecrypt},
		"Decrypt of what looks like an old ciphertext": {
			none(admin.Decrypt(ctx, name, []byte(`{"aead":"AES-256-GCM-HMAC-SHA-256"}`), nil)), kes.ErrDecrypt,
		},
	} {
		t.Run(what, func(t *testing.T) { wants(t, pair[0], pair[1]) })
	}
}

func TestABadNameIsRefusedWithItsName(t *testing.T) {
	admin := connect(t, adminKey)
	for _, name := range []string{"a b", "a/b", "-a", "a-", "_", "schlüssel", "<a>", strings.Repeat("a", 81)} {
		message := "key name '" + name + "' is empty, too long or contains invalid characters"
		wants(t, admin.CreateKey(background(t), name), kes.NewError(400, message))
	}
	longest := unused(strings.Repeat("a", 68))
	ok(t, admin.CreateKey(background(t), longest))
}

func TestACallThatIsGivenUpHarmsNobodyElse(t *testing.T) {
	app, name := connect(t, appKey), newKey(t)
	for range 50 {
		ctx := abandoned(t)
		if _, err := app.GenerateKey(ctx, name, nil); err != nil && !errors.Is(err, ctx.Err()) {
			t.Fatalf("unexpected error: %v", err)
		}
	}
	_, err := app.GenerateKey(background(t), name, nil)
	ok(t, err)
}

// Ways to say what a data key is for, each different from the others but for the first two.
func contexts() [][]byte {
	return [][]byte{nil, {}, {0}, []byte("my-bucket/my-object"), []byte(`{"a":"b"}`), random(4096)}
}

func random(size int) []byte {
	bytes := make([]byte, size)
	_, _ = rand.Read(bytes)
	return bytes
}
