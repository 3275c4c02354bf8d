export default function Alerts() {
  return (
    <>
      <p>An alert is raised once, when something has been wrong for as long as its rule says, and cleared with a message when it is over. It is shown on <a href="/alerts">Alerts</a> and the dashboard, counted in <code>/metrics</code>, and sent to webhooks. Rules and webhooks are in the <a href="/settings">settings</a>.</p>
      <h2>Webhooks</h2>
      <p>An alert is posted as JSON:</p>
      <pre tabIndex={0}>{`{"id": 41, "event": "alert.raised", "sent_at": "2026-11-21T13:00:00Z",
 "alert": {"id": 9, "rule": "connection_error", "subject": "broker-demo",
           "severity": "critical", "message": "…", "raised_at": "…"}}`}</pre>
      <p><code>event</code> is <code>alert.raised</code> or <code>alert.cleared</code>. An answer of 2xx counts as received. Anything else is tried again, after a second, two, four and so on, for half an hour.</p>
      <h2>Checking the signature</h2>
      <p>With a secret, each message carries the header <code>Tickwire-Signature: t=SECONDS,v1=HEX</code>: the time of the attempt, and the HMAC-SHA-256 of <code>SECONDS.BODY</code> with the secret. In Python:</p>
      <pre tabIndex={0}>{`import hashlib, hmac, time

def is_ours(secret: bytes, header: str, body: bytes) -> bool:
    parts = dict(part.split("=", 1) for part in header.split(","))
    if abs(time.time() - int(parts["t"])) > 300:   # an old message, sent again by someone else
        return False
    wanted = hmac.new(secret, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, parts["v1"])`}</pre>
      <p>Alerts about private connections go to no webhook: only their owner sees them here.</p>
    </>
  );
}
