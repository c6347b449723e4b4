# Every text of the pages. A translation is a file like this beside it, with the same names (docs/decisions/0036-one-catalogue.md).
# `{ $name }` is put in; backticks become code where a template says the text.

## On several pages

common-back = Back
common-assess = Assess
common-calendar = Calendar
common-nothing = Nothing.
common-what = What
common-enrolment = Enrolment
common-reason = why
common-why-not = Why not
common-server = Server
common-key = Key
common-state = State
common-since = Since
common-why = Why
common-by = By
common-from = From
common-until = Until
common-plans = Plans
common-policy = Policy
common-audit = Audit
common-emergency-stop = Emergency stop
common-settings = Settings
common-person = Person
common-to = To
common-good-for-days = Good for days
common-what-for = What for
common-hardly-meant = Hardly meant
common-every-value-in-effect = Every value in effect
common-policy-in-toml = Policy, in TOML
common-show-what-it-would-change = Show what it would change
common-name = Name
common-password = Password
common-no-report-yet = no report yet
common-dag = DAG
common-ad-site = AD site
common-never = never
common-a-token = A token
common-yes = yes
common-no = no
common-one-moment = One moment

## Around every page

page-to-the-content = To the content
page-estate = Estate
page-incidents = Incidents
page-patch-night = Patch night
page-not-live = not live
page-live = live
page-live-silent = the controller does not answer
page-live-again = load the page again
page-sign-out = Sign out
page-pages = Pages

## Api token

api-token-as-an-identity-of-the = As an identity of the command line
api-token-a-file-that-only-the = A file that only the program may read, with this in its first line and behind it the CA's certificate (`ca.pem` of the controller's state folder):
api-token-made-so-at-once-on = Made so at once on a workstation, also `backstay access token create`. Other clients of the operators' port send it as `authorization: Bearer`.
api-token-headline = Token { $name }
api-token-lead = Good until { $until }. It is shown here and never again: whoever has it asks as you, as far as it may.

## Assess

assess-servers-without-an-agent-judged = Servers without an agent, judged from exported files as `backstay assess` judges them. The files stay in memory and are gone with the answer: at most 32 MiB, 500 files.
assess-files-of-one-server = Files of one server
assess-exports = Exports
assess-judge-them = Judge them
assess-a-folder-with-a-folder = A folder with a folder for each server
assess-folder = Folder
assess-what-to-export-on-the = What to export, on the server
assess-in-powershell-any-of-them = In PowerShell. Any of them may be missing: what is not shown is said, with the command that shows it. No export proves that a private key can be used.

## Assessed

assessed-assessment = Assessment
assessed-not-judged = Not judged
assessed-others = Others
assessed-others-wait = Others are having exports judged: try again in a moment.
assessed-files-do-not-read = These files do not read
assessed-too-large = { $why }: at most 32 MiB at once are taken.
assessed-too-many = Expected at most { $count } files, found more: send the servers in parts, or use backstay assess.
assessed-no-files = Expected files, found none.
assessed-lead = { $count ->
    [one] One server, judged from exported files. What no export shows is unknown, and is said. Nothing of it is kept here.
   *[other] { $count } servers, judged from exported files. What no export shows is unknown, and is said. Nothing of it is kept here.
}

## Calendar

calendar-when-approved-work-may-run = When approved work may run
calendar-at-any-time-the-policy = at any time: the policy names no window
calendar-nothing-happens-in-the-next = Nothing happens in the next five years: no server is known yet, or the end of no certificate.
calendar-not = not { $freeze }
calendar-no-policy = No policy is in force, so nothing would be proposed. Days are in UTC.
calendar-all-find-their-time = By policy version { $version } every renewal that can be foreseen finds its time. Days are in UTC.
calendar-alarms = By policy version { $version } renewals will not find their time: { $count } lines below. Days are in UTC.

## Changed

changed-the-plan-has-changed = The plan has changed
changed-what-was-shown-is-no = What was shown is no more, and nothing was done with it.
changed-look-at-what-waits-now = Look at what waits now
changed-what-is-different = What is different
changed-before = before: { $line }
changed-after = after: { $line }
changed-steps = steps: { $steps }
changed-expects = expects: { $count } facts
changed-shown = shown
changed-as-shown = as shown
changed-now = now
changed-what-is-different-on = What is different on { $server }

## Days

days-day = Day
days-servers = Servers
days-what-time-brings = What time brings
days-all = all

## Enrolment

enrolment-key = key
enrolment-installation = installation
enrolment-since = since
enrolment-let-it-in-only-when = Let it in only when somebody at that server expects it: whoever speaks under this key speaks for the server from then on.
enrolment-let-it-in = Let it in
enrolment-send-it-away = Send it away
enrolment-let-a-server-in = Let a server in
enrolment-a-token-is-good-once = A token is good once, for one name, and shown once. A name that somebody has already waits here for a person.
enrolment-good-for-hours = Good for hours
enrolment-make-a-token = Make a token
enrolment-all-machines = All machines
enrolment-none-has-enrolled-yet = None has enrolled yet.
enrolment-connected = Connected
enrolment-identity-until = Identity until
enrolment-send-a-machine-away = Send a machine away
enrolment-server-or-beginning-of-a = Server, or beginning of a key
enrolment-the-name-too = The name, too
enrolment-none-waits = No machine waits for a person.
enrolment-waiting = { $count ->
    [one] One machine waits for a person.
   *[other] { $count } machines wait for a person.
}

## Estate

estate-stop-the-whole-estate = Stop the whole estate
estate-wants-somebody = Wants somebody
estate-the-first-day = The first day
estate-none = No server has joined yet
estate-all-well = { $count ->
    [one] The one server is well
   *[other] All { $count } servers are well
}
estate-not-heard = { $silent } of { $count } servers not heard
estate-troubled = { $some ->
    [one] { $some } of { $count } servers wants somebody
   *[other] { $some } of { $count } servers want somebody
}
estate-first-end = The first certificate to end is that of { $server }, on { $day }.
estate-no-end = Of no certificate is the end known.
estate-no-policy = No policy is in force: every server is only observed.
estate-no-group = Of no known group
estate-site = Site { $site }
estate-trust-title = Say who may approve
estate-trust-why = On a workstation, not here: whoever has the root key makes and unmakes approvers, and no controller can.
estate-policy-title = Say what is wanted
estate-policy-why = Until an approver has signed a policy, every server is only observed: nothing is proposed, nothing is done.
estate-server-title = Let the first server in
estate-server-why = With a token that is good once. The page Enrolment makes one, with the lines to paste on the server.
estate-trouble = { $more ->
    [0] { $title } ({ $code })
   *[other] { $title } ({ $code }), and { $more } more
}
estate-no-certificate = no certificate that can be used
estate-ended = ended on { $day }
estate-days-left = { $days } days left, until { $day }
estate-untouched = untouched for { $days } days, since { $day }
estate-silent = not heard: this is what it said last
estate-peers-unknown = no peer has said what it is shown
estate-peers-agree = { $all ->
    [one] its peer agrees
   *[other] its { $all } peers agree
}
estate-some-peers-agree = { $some } of { $all } peers agree
estate-peers-differ = { $count ->
    [one] { $peers } sees it otherwise
   *[other] { $peers } see it otherwise
}
estate-stopped = { $count ->
    [one] An emergency stop is in force: where it holds, nothing is done.
   *[other] { $count } emergency stops are in force: where they hold, nothing is done.
}
estate-proposed = { $count ->
    [one] { $count } plan waits for approvers
   *[other] { $count } plans wait for approvers
}
estate-stop-reason = stopped on the page Estate

## Incidents

incidents-one-for-each-cause-from = One for each cause, from when it was first seen until it stayed away for a minute. It is told when it begins and when it is over.
incidents-i-am-at-it = I am at it
incidents-who-is-told = Who is told
incidents-nobody-notify-in-controller-toml = Nobody: `[notify]` in `controller.toml` names mail and programs.
incidents-channel = Channel
incidents-says = Says
incidents-waiting = Waiting
incidents-given-up = Given up
incidents-last-sent = Last sent
incidents-last-failure = Last failure
incidents-send-a-test-through-every = Send a test through every channel
incidents-over = Over
incidents-who-was-at-it = Who was at it
incidents-channels = Channels
incidents-incidents-that-are-over = Incidents that are over
incidents-none = Nothing wants anybody
incidents-all-answered = { $open } open, and somebody is at each of them
incidents-unanswered = { $open } open, and nobody is at { $nobody } of them
incidents-since-and-nobody = Since { $since }. Nobody is at it.
incidents-since-and-somebody = Since { $since }. { $person } is at it.

## The store is out of reach

out-of-reach-what-goes-on-meanwhile = What goes on meanwhile
out-of-reach-mail = Mail does: nothing of it passes here, and 444 stays as it is on every server.
out-of-reach-agents-watch-hold-and-restore = Agents watch, hold and restore 444 under the policy that they hold. What they have to tell they keep until it can be written down.
out-of-reach-nothing-is-approved-handed-out = Nothing is approved, handed out or confirmed. A form that was sent just now changed nothing.
out-of-reach-what-to-do = What to do
out-of-reach-on-the-controller-see-that = On the controller: see that the disk has room and that nobody else holds the database. Event 9503 names the error. No restart is needed.
out-of-reach-ask-again = Ask again

## Patch night

patch-night-nothing-is-known-against = Nothing is known against
patch-night-the-same-for-scripts-with = The same for scripts, with exit code 6 where something is in the way:
patch-night-restart = at the next restart
patch-night-update = stops an update
patch-night-unknown = unknown
patch-night-frozen = frozen
patch-night-none = No server has reported yet
patch-night-nothing-known = Nothing is known that would stop tonight
patch-night-stops = { $stops } of { $count } servers must not be restarted or updated as they are
patch-night-lead = Asked of what every server said last. What a restart brings to light stands here before it.
patch-night-not-heard = not heard: as it was said last

## People

people-access = Access
people-roles = Roles
people-keys = Keys
people-how-many-must-agree = How many must agree
people-persons = Persons
people-how = How
people-the-document = The document
people-this-browser-key = This browser's key
people-such-a-key-is-made = Such a key is made here, cannot be copied from here, and is weaker than one in a file: what you read before you sign comes from the controller.
people-without-scripts-there-is-no = Without scripts there is no key in a browser.
people-make-a-key-in-this = Make a key in this browser
people-forget-this-key = Forget this key
people-people = People
people-no-trust = No trust document is in force: nobody may approve anything. Make one on a workstation with backstay trust init, and put it in force with backstay trust apply.
people-key-in-a-file = in a file, until { $until }
people-key-in-a-browser = in a browser, until { $until }
people-in-browsers = { $count } of them may sign in a browser
people-in-files = with keys in files
people-key-none = This browser has no key.
people-key-admitted = The root admitted the key of this browser:
people-key-not-admitted = This browser has a key that nobody admitted yet. Whoever has the root key does, with:
people-key-not-made = This browser makes no such key:
people-lead = Trust version { $version }, signed by the root, says who may approve. No controller can change that.
people-document = document
people-root = root
people-root-keys = root keys
people-root-keys-sign = { $threshold } of { $keys } sign the next document
people-controllers = controllers
people-of-ca = those of { $count } CA
people-browsers-count-for-nothing = The trust document lets keys of browsers count for nothing here. The root changes that: backstay trust next --browser renew.
people-browsers-count-for = Keys of browsers count for: { $classes }; for all persons needed but one.

## Plan

plan-on = on
plan-what-it-changes = What it changes
plan-before = before
plan-after = after
plan-steps = steps
plan-expects = expects
plan-verified-by = verified by
plan-goes-back = goes back
plan-gap-on-444 = gap on 444
plan-opens = opens
plan-approved = approved
plan-plan = plan
plan-the-same-by-hand-in = The same by hand, in PowerShell
plan-approve-it-or-not = Approve it, or not
plan-an-approver-signs-what-stands = An approver signs what stands above, on the own workstation and with the own key. What is signed is compared on the host, byte for byte.
plan-to-sign-here-this-browser = To sign here, this browser needs a key that the root admitted:
plan-this-browser-key = this browser's key
plan-change-number = Change number
plan-sign-with-this-browser-key = Sign with this browser's key
plan-say-no = Say no
plan-reject = Reject
plan-give-it-up = Give it up
plan-its-agent-is-away-and = Its agent is away and nobody knows what became of it: others of the group have their turn then. Should the agent come back, it says how it ended.
plan-who-approved-it = Who approved it
plan-what-it-came-to = What it came to
plan-title = { $purpose } on { $server }
plan-said = { $person }: { $reason }{ $change }, until { $day }
plan-browsers-count = Of the { $needed } persons who must sign, { $browsers } may do so in a browser, where what is read comes from the controller; at least one signs on a workstation.
plan-browsers-do-not-count = Keys of browsers do not count for this: the trust document does not name { $class }.
plan-ended = { $outcome } on { $at }
plan-standing = by standing approval of policy { $policy }
plan-gap = 444 had no record for { $micros } microseconds
plan-foreign = changed elsewhere meanwhile: { $fact }
plan-expects-facts = { $count } facts on the host, each compared before the first step
plan-approved-of = { $approvals } of { $needed }

## Plan table

plan-table-plan = Plan
plan-table-approved = Approved
plan-table-opens = Opens
plan-table-waits-for = Waits for

## Plans

plans-none = Nothing was ever planned here: every server is left alone.
plans-none-waits = None waits for approvers.
plans-wait = { $count } for approvers to decide. A plan is approved on the approver's own workstation, with the own key.

## Policy

policy-the-document-as-it-was = The document, as it was signed
policy-try-another = Try another
policy-here-you-see-what-it = Here you see what it would change and what time would bring. Nothing is put in force: approvers sign it on their workstations. It begins with
policy-nobody-any-more = people who approve no longer
policy-in-force = Version { $version } is in force, signed by { $by }. Agents obey no other.

## Policy tried

policy-tried-a-policy-is-tried = A policy is tried
policy-tried-it-does-not-hold-nothing = It does not hold; nothing was changed.
policy-tried-in-force = In force
policy-tried-tried = Tried
policy-tried-agents = Agents
policy-tried-may-do-more = may do more
policy-tried-what-time-would-bring = What time would bring
policy-tried-to-put-it-in-force = To put it in force
policy-tried-save-it-as-a-file = Save it as a file; each approver signs it on the own workstation:
policy-tried-change-it = Change it
policy-tried-what-would-be-different = What would be different
policy-tried-more = And { $count } days more:
policy-tried-the-same = It wants the same as the one in force.
policy-tried-different = This is what would be different. Nothing was changed.
policy-tried-narrows = may do less
policy-tried-judge = a person must judge

## Server

server-what-was-found = What was found
server-what-happens-next = What happens next
server-decision = decision
server-rule = rule
server-what-was = What was
server-about-the-server = About the server
server-every-fact-that-the-verdict = Every fact that the verdict rests on
server-seen-from = seen from { $peer }
server-never-heard = It was never heard.
server-silent = Its agent is not heard since { $day }: this is what it said last. { $why }
server-mode = mode
server-exchange = Exchange
server-agent = agent
server-renewal = would a renewal succeed
server-untouched = untouched since
server-names-nothing = ; 444 names nothing from here on
server-names = ; 444 names { $thumbprint } from here on
server-front-end = Front end, port 443
server-back-end = Back end, port 444
server-unknown = unknown: { $why }
server-no-record = no record
server-no-certificate = no certificate
server-record = { $endpoint } names { $names } in { $store }
server-store = store { $store }
server-not-there = the certificate is not there
server-there = the certificate is there
server-there-archived = the certificate is there, archived
server-key-works = its key works
server-key-unusable = its key cannot be used: { $state }
server-key-unknown = whether its key works is unknown: { $why }
server-serves-it = serves that certificate
server-serves-another = serves another certificate
server-nobody-listens = nobody listens
server-no-handshake = no handshake: { $why }
server-not-reached = not reached: { $why }
server-elsewhere = the name leads elsewhere: { $why }
server-handshake = handshake over { $path }
server-would-change-it = would change it

## Settings

settings-as-the-controller-runs-they = As the controller runs. They are changed in `controller.toml` on its machine, and hold from its next start on; nobody changes them here, and no secret is shown.
settings-value = Value
settings-operators-approvers-auditors-and-admins = Operators, approvers, auditors and admins see how the controller runs; your role does not.
settings-good-until = good until { $day }
settings-version = version
settings-store = store
settings-ca = certificate of the CA
settings-does-not-read = does not read
settings-pages = certificate of the pages
settings-pages-here-only = none: they are shown on this machine only
settings-default = default

## Signing in and out

sign-in-sign-in = Sign in
sign-in-with-a-password = With a password
sign-in-with-a-link = With a link
sign-in-whoever-has-an-operator-certificate = Whoever has an operator's certificate makes one that is good once, and opens it here. It works also when nothing else does.
sign-in-from-elsewhere = You come from elsewhere.
sign-in-go-on = Go on
sign-in-link = This link is good once, and for five minutes after it was made.
sign-in-with = Sign in with { $provider }
sign-in-link-no-more = This link is good no more
sign-in-link-no-more-why = It was used already, or made more than five minutes ago. Make another: backstay sign-in
sign-in-not-by-that = Nobody is signed in by that. After several wrong passwords in a row the next ones wait, up to 15 minutes. A link always signs you in: backstay sign-in
sign-in-done = Signed in
sign-in-done-lead = You are signed in.
sign-in-no-provider = there is no provider
sign-in-not-begun = this browser began no attempt within the last ten minutes
sign-in-groups = Whoever gives groups there, or rules in controller.toml here, can change that.
sign-in-stale = This sign-in is good no more
sign-in-begin-anew = Begin anew: /sign-in
sign-in-did-not-work = This sign-in did not work
sign-in-meanwhile = Meanwhile a link signs you in: backstay sign-in
sign-in-sign-out-there = Sign out of { $provider }, too
sign-in-signed-out = Signed out
sign-in-signed-out-lead = You are signed out here. { $provider } may still know you, and would let whoever uses this browser in again.

## Stops

stops-the-whole-estate-and-whoever = the whole estate, and whoever joins
stops-stop = Stop
stops-operators-approvers-and-admins-may = Operators, approvers and admins may stop; your role may not.
stops-by = by
stops-confirmed = confirmed
stops-going-on = going on
stops-an-approver-says-yes-to = An approver says yes to going on with the key in a file:
stops-ended = Ended
stops-stops-that-ended = Stops that ended
stops-none = None is in force. A stop ends all work of the agents, also what they would repair by themselves; 444 stays as it is.
stops-in-force = { $count ->
    [one] One is in force: where it holds, nothing is done until approvers say so.
   *[other] { $count } are in force: where they hold, nothing is done until approvers say so.
}
stops-server = server
stops-confirmed-by = by { $confirmed } of { $covered } agents
stops-away = { $away }: told as soon as they come
stops-wanted-by-none = wanted by 0 of { $need } approvers
stops-wanted-by = wanted by { $count } of { $need } approvers: { $persons }
stops-in-force-where = In force: { $covers }
stops-reason = stopped on the page
stops-not-yet = not yet
stops-not-heard = not heard

## Token

token-it-writes-the-token-into = It writes the token into a file that only administrators and the system may read, and installs the agent with it:
token-the-server-is-only-observed = The server is only observed until a policy says otherwise.
token-headline = A token for { $server }
token-lead = Good once, until { $until }. It is shown here and never again: whoever has it may join as { $server }.
token-there = On { $server }, in PowerShell as administrator

## Trail

trail-who-did-what-the-newest = Who did what, the newest first. Each entry carries the hash of the one before; every agent keeps the end that it was told.
trail-look-for = Look for
trail-look = Look
trail-verify-the-chain = Verify the chain
trail-take-it-away-as-json = Take it away as JSON lines
trail-no = No
trail-at = At
trail-who = Who
trail-detail = Detail
trail-older = Older
trail-entries = Entries
trail-empty = Nothing was told yet.
trail-not-found = In no entry does that stand.

## Trail verified

trail-verified-keep-this-elsewhere-who-has = Keep this elsewhere; who has it can tell later whether the trail up to here is the one that was shown today:
trail-verified-here-the-controller-vouched-for = Here the controller vouched for itself. On a workstation nobody has to believe it, and an end that was kept is compared:
trail-verified-back-to-the-entries = Back to the entries
trail-verified-title = The trail verified
trail-verified-unbroken = The trail is unbroken
trail-verified-broken = The trail is broken
trail-verified-entries = { $count } entries, each with the hash of the one before.
trail-verified-up-to = { $broken }. Up to entry { $count } it holds.
trail-verified-cut = expected entry { $promised }, found the end at { $end }

## Why there is no page

trouble-form = This form does not read: nothing was changed
trouble-utf-8 = Expected text in UTF-8, found something else.
trouble-scope = scope: expected estate, server:NAME, dag:NAME or site:NAME
trouble-not-found = There is no such thing
trouble-invalid = This does not read
trouble-precondition = This cannot be done as things stand
trouble-changed = It has changed since it was shown
trouble-denied = Not for you
trouble-store = The controller cannot reach its store
trouble-too-much = There is too much of this
trouble-other = This did not work
trouble-no-page = There is no such page
trouble-no-page-here = No page is at this address.
trouble-not-signed-in = Not signed in
trouble-nobody-signed-in = Nobody is signed in here, or no longer: nothing was changed. Sign in, and do it again: backstay sign-in
trouble-from-elsewhere = expected a form of one of these pages, found one from elsewhere
trouble-other-name = expected a request to { $expected }, found one to another name
trouble-loopback = localhost or a loopback address

## Ways in

ways-in-beside-certificates-and-what-a = Beside certificates, and what a provider vouches for. A link that is good once: `backstay sign-in`
ways-in-way = Way
ways-in-role = Role
ways-in-may = May
ways-in-used = Used
ways-in-set-your-password = Set your password
ways-in-12-characters-or-more-without = 12 characters or more, without your name. It takes the place of the one before, and is good in the role that you have now.
ways-in-once-more = Once more
ways-in-set-it = Set it
ways-in-make-a-token-for-a = Make a token for a program
ways-in-the-program-asks-as-you = The program asks as you, with no more than is ticked here, until its end. It makes no ways in, and approves nothing: approving is a signature. It is shown once.
ways-in-it-may = It may
ways-in-make-it = Make it
ways-in-revoke-a-token = Revoke a token
ways-in-token = Token
ways-in-revoke-it = Revoke it
ways-in-end-all-ways-in-of = End all ways in of a person
ways-in-browsers-links-the-password-and = Browsers, links, the password and tokens end at once. A certificate is good until it runs out; what a provider vouches for ends there.
ways-in-end-them = End them
ways-in-ways-in = Ways in
ways-in-browser = browser, by { $via }
ways-in-password-set = password
ways-in-token-named = token { $name }
ways-in-may-read = look at everything
ways-in-may-answer = say that one is at an incident
ways-in-may-submit = hand in what somebody signed
ways-in-may-reject = say no to plans
ways-in-may-stop = make emergency stops
ways-in-may-send-away = send machines away
ways-in-may-enrol = make join tokens, admit machines
ways-in-vouched-only = A provider vouches for you: a password or a token would still be good when it has changed its mind. Nothing was changed.
ways-in-not-the-same = The two passwords are not the same: nothing was changed.
ways-in-of-everybody = Ways in, of everybody
ways-in-own = Your ways in
