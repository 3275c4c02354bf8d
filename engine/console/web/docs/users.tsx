export default function Users() {
  return (
    <>
      <ul>
        <li><strong>Administrators</strong> may do everything. The first one is created by the link that the engine prints at its first start; it works once.</li>
        <li><strong>Staff</strong> may do what their permissions say.</li>
        <li><strong>Users</strong> have connections of their own, which nobody else reads, and read the shared sources they were given.</li>
        <li><strong>Demo</strong> accounts see what a user sees and change nothing.</li>
      </ul>
      <h2>Permissions of staff</h2>
      <ul>
        <li><code>manage-data-connections</code>: add, change and remove all connections, and see how each is.</li>
        <li><code>manage-users</code>: users and their tokens.</li>
        <li><code>manage-jobs</code>: start and cancel all jobs.</li>
        <li><code>manage-settings</code>: approved providers, alert rules, webhooks.</li>
        <li><code>view-system</code>: storage, pipeline, terminals.</li>
      </ul>
      <h2>Whose prices</h2>
      <p>A private connection belongs to its user. Its prices are not part of the best price of others, and not even administrators read them; those who manage connections see only that it is there and how it is.</p>
      <h2>Second factor</h2>
      <p>Set it up on <a href="/account">your account</a> with any authenticator app. Who has lost the device asks someone with <code>manage-users</code> to switch it off.</p>
      <h2>Wrong passwords</h2>
      <p>They are logged, and after a few of them the next attempt has to wait.</p>
    </>
  );
}
