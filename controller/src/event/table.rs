//! Every event of the controller.
//!
//! An id means one thing for ever: one that is no longer used is not given again. Strings keep their order; a new one is added at
//! the end. The build script reads this file, too, and makes the texts of the exe from it; a test holds docs/events.md to it.

native::events! {
    STARTED = 1500 Information(version, estate) {
        en "The controller %1 of estate %2 has started.", "";
        de "Der Controller %1 des Verbunds %2 wurde gestartet.", "";
    }
    STOP_REQUESTED = 1501 Information(version) {
        en "The controller %1 was asked to stop.", "";
        de "Der Controller %1 wurde aufgefordert anzuhalten.", "";
    }
    STOPPED = 1502 Information(version) {
        en "The controller %1 has stopped.", "";
        de "Der Controller %1 wurde angehalten.", "";
    }
    FAILED = 1503 Error(error) {
        en "The controller cannot go on and ends: %1",
           "Put right what is named. Agents go on watching and repairing what the policy lets them; nothing new is approved \
            meanwhile.";
        de "Der Controller kann nicht weiterarbeiten und endet: %1",
           "Die genannte Ursache beheben. Die Agenten überwachen und beheben weiter, was die Richtlinie erlaubt; Neues wird \
            nicht genehmigt.";
    }
    IN_ORDER = 2500 Information(server, verdict, decision) {
        en "Server %1 is %2: %3", "";
        de "Server %1 ist %2: %3", "";
    }
    DEVIATES = 2501 Warning(server, verdict, decision) {
        en "Server %1 is %2: %3", "Look at it in working hours: `backstay explain SERVER`.";
        de "Server %1 ist %2: %3", "Zur Arbeitszeit ansehen: `backstay explain SERVER`.";
    }
    LOST = 2502 Error(server, verdict, decision) {
        en "Port 444 of server %1 is %2: %3",
           "Look now: `backstay explain SERVER` says what happens next and whether an approval is missing.";
        de "Port 444 von Server %1 ist %2: %3",
           "Jetzt ansehen: `backstay explain SERVER` sagt, was als Nächstes geschieht und ob eine Genehmigung fehlt.";
    }
    URGENT_FINDING = 2503 Error(server, code, finding) {
        en "Found on server %1: %2, %3", "See docs/findings, the page of that code: what it means, and what to do now.";
        de "Auf Server %1 gefunden: %2, %3", "Siehe docs/findings, Seite dieses Codes: was es heißt und was jetzt zu tun ist.";
    }
    AGENT_SILENT = 2510 Warning(server, why) {
        en "The agent of server %1 fell silent: %2",
           "See whether the server is in maintenance. Otherwise look at service BackstayAgent there, and at the network \
            between.";
        de "Der Agent von Server %1 verstummte: %2",
           "Prüfen, ob der Server in Wartung ist. Sonst den Dienst BackstayAgent dort ansehen und das Netz dazwischen.";
    }
    PLAN_PROPOSED = 3500 Information(server, plan, why) {
        en "Plan %2 is proposed for server %1: %3", "Approve or reject it: `backstay plan show PLAN`.";
        de "Plan %2 wird für Server %1 vorgeschlagen: %3", "Genehmigen oder ablehnen: `backstay plan show PLAN`.";
    }
    PLAN_APPROVED = 3501 Information(server, plan) {
        en "Plan %2 for server %1 has the approvals that it needs.", "";
        de "Plan %2 für Server %1 hat die nötigen Genehmigungen.", "";
    }
    PLAN_OFFERED = 3502 Information(server, plan) {
        en "Plan %2 was sent to the agent of server %1.", "";
        de "Plan %2 wurde an den Agenten von Server %1 gesandt.", "";
    }
    POLICY_APPLIED = 3510 Information(version, person) {
        en "Policy %1 is in force, applied by %2.", "";
        de "Richtlinie %1 gilt, angewandt von %2.", "";
    }
    TRUST_APPLIED = 3511 Information(version, person) {
        en "Trust document %1 is in force, applied by %2.", "";
        de "Vertrauensdokument %1 gilt, angewandt von %2.", "";
    }
    STOP_MADE = 3520 Warning(stop, person, reason) {
        en "Emergency stop %1 by %2 is in force: %3",
           "Nothing is done on the servers that it covers. `backstay stop list` counts who has confirmed; approvers let it go: `backstay resume`.";
        de "Der Notstopp %1 von %2 ist in Kraft: %3",
           "Auf den betroffenen Servern geschieht nichts. `backstay stop list` zählt, wer bestätigt hat; Genehmiger heben ihn auf: `backstay resume`.";
    }
    STOP_LET_GO = 3521 Warning(stop, person) {
        en "Emergency stop %1 was let go; the last yes came from %2.", "Work goes on. Look at the plans that wait: `backstay plan list`.";
        de "Der Notstopp %1 wurde aufgehoben; das letzte Ja kam von %2.", "Die Arbeit geht weiter. Wartende Pläne ansehen: `backstay plan list`.";
    }
    PLAN_DONE = 4500 Information(server, plan, notes) {
        en "Plan %2 is done on server %1: %3", "";
        de "Plan %2 ist auf Server %1 ausgeführt: %3", "";
    }
    PLAN_NOT_DONE = 4501 Warning(server, plan, outcome, notes) {
        en "Plan %2 was not done on server %1, which is as it was: %3: %4",
           "See in the reasons what did not hold: `backstay explain SERVER`. The wave waits for a decision about another \
            attempt.";
        de "Plan %2 wurde auf Server %1 nicht ausgeführt, dieser ist wie zuvor: %3: %4",
           "Den Gründen entnehmen, was nicht hielt: `backstay explain SERVER`. Die Welle wartet, bis über einen weiteren \
            Versuch entschieden ist.";
    }
    PLAN_FAILED = 4502 Error(server, plan, notes) {
        en "Plan %2 is neither done nor taken back on server %1: %3",
           "Look at port 444 of that server now. Nothing more is done in its group until a person decides.";
        de "Plan %2 ist auf Server %1 weder ausgeführt noch zurückgenommen: %3",
           "Port 444 dieses Servers jetzt prüfen. In seiner Gruppe geschieht nichts weiter, bis jemand entscheidet.";
    }
    AGENT_JOINED = 5500 Information(server) {
        en "The agent of server %1 has joined.", "";
        de "Der Agent von Server %1 ist beigetreten.", "";
    }
    AGENT_WAITS = 5501 Warning(server, why) {
        en "A machine wants to join as %1 and is not let in: %2",
           "Decide whether it is the server, built anew, or somebody else: `backstay server show SERVER`.";
        de "Ein Rechner will als %1 beitreten und wird nicht eingelassen: %2",
           "Entscheiden, ob es der neu aufgesetzte Server ist oder jemand anderes: `backstay server show SERVER`.";
    }
    IDENTITY_DOUBTED = 5502 Error(server, why) {
        en "Somebody speaks with the key of server %1 who should not: %2",
           "A clone, a machine that was set back, or a stolen key. Find the two machines, and let a person decide which one \
            stays.";
        de "Jemand spricht mit dem Schlüssel von Server %1, der es nicht sollte: %2",
           "Ein Klon, ein zurückgesetzter Rechner oder ein gestohlener Schlüssel. Beide Rechner finden, ein Mensch \
            entscheidet, welcher bleibt.";
    }
    ENROLMENT_REFUSED = 5503 Warning(server, error) {
        en "A machine that wants to join as %1 is refused: %2",
           "Nothing, if a token was mistyped or used twice. Otherwise somebody tries tokens on the enrolment port.";
        de "Ein Rechner, der als %1 beitreten will, wird abgewiesen: %2",
           "Nichts, wenn ein Token vertippt oder zweimal benutzt wurde. Sonst probiert jemand Token am Beitrittsport.";
    }
    KEY_SEALED = 5510 Information(path) {
        en "The key of the certification authority %1 was sealed: from here on only this machine opens it.", "";
        de "Der Schlüssel der Zertifizierungsstelle %1 wurde versiegelt: ab jetzt öffnet ihn nur dieser Rechner.", "";
    }
    OWN_CERTIFICATE_KEPT = 5511 Warning(error) {
        en "The controller's own certificate was not renewed: %1",
           "It is tried again each day, and the present one is good for weeks. Put right what is named.";
        de "Das eigene Zertifikat des Controllers wurde nicht erneuert: %1",
           "Es wird täglich wieder versucht, das jetzige gilt noch Wochen. Die genannte Ursache beheben.";
    }
    PAGES_CERTIFICATE_KEPT = 5512 Warning(error) {
        en "The certificate of the pages was not read again: %1",
           "It is tried again all the time, and the present one is shown meanwhile. Put right what is named.";
        de "Das Zertifikat der Seiten wurde nicht neu gelesen: %1",
           "Es wird immer wieder versucht, solange wird das jetzige gezeigt. Die genannte Ursache beheben.";
    }
    REMEMBERED = 5520 Information(server, taken) {
        en "%1 told what it holds to a store that was put back from a backup; new here: %2", "";
        de "%1 hat einem zurückgelegten Speicher gesagt, was es hält; neu hier: %2", "";
    }
    NOT_ADOPTED = 5521 Warning(server, what) {
        en "What %1 holds was not taken by a store that was put back from a backup: %2",
           "Apply the documents anew, from the approvers' workstation: `backstay trust apply`, `backstay policy apply`.";
        de "Was %1 hält, hat ein zurückgelegter Speicher nicht übernommen: %2",
           "Die Dokumente vom Arbeitsplatz der Freigebenden neu anwenden: `backstay trust apply`, `backstay policy apply`.";
    }
    AUDIT_LOST = 5522 Warning(server, what) {
        en "Entries of the audit trail were lost with the store: %2, as %1 saw it",
           "Keep what is left of the old database for whoever asks what was in them.";
        de "Einträge der Prüfspur gingen mit dem Speicher verloren: %2, wie %1 sie sah",
           "Was von der alten Datenbank übrig ist, für spätere Fragen nach ihnen aufbewahren.";
    }
    NOT_TOLD = 5523 Error(channel, kind, why) {
        en "A message of kind %2 could not be handed to channel %1 for three days, and was given up: %3",
           "See that the relay or the program answers: `backstay channel test`. What it said stands in `backstay incident list --all`.";
        de "Eine Nachricht der Art %2 ließ sich drei Tage lang nicht über den Kanal %1 zustellen und wurde aufgegeben: %3",
           "Prüfen, ob Relay oder Programm antworten: `backstay channel test`. Was darin stand, zeigt `backstay incident list --all`.";
    }
    PANICKED = 9500 Error(error) {
        en "The controller met an error of its own and ends: %1", "Please report it with this text. What was acknowledged is \
            on disk.";
        de "Der Controller ist auf einen eigenen Fehler gestoßen und endet: %1",
           "Bitte mit diesem Text melden. Was bestätigt wurde, liegt auf der Platte.";
    }
    TOO_MANY = 9501 Warning(id, most) {
        en "More than %2 events of id %1 within an hour: further ones are left out here.",
           "See what flaps: the last events of that id. The lines of the controller have them all.";
        de "Mehr als %2 Ereignisse mit Kennung %1 binnen einer Stunde: weitere fehlen hier.",
           "Nachsehen, was hin und her wechselt: die letzten Ereignisse dieser Kennung. Die Zeilen des Controllers enthalten \
            alle.";
    }
    EVENTS_LOST = 9502 Warning(count) {
        en "%1 events were left out: the event log took them too slowly.", "See whether the service of the event log is well.";
        de "%1 Ereignisse fehlen: das Ereignisprotokoll nahm sie zu langsam an.", "Prüfen, ob es dem Dienst des \
            Ereignisprotokolls gut geht.";
    }
    STORE_FAILED = 9503 Error(error) {
        en "The store does not answer, and nothing is acknowledged: %1",
           "See that the disk has room and that nobody else holds the database. Agents repeat what was not acknowledged.";
        de "Die Datenbank antwortet nicht, nichts wird bestätigt: %1",
           "Dafür sorgen, dass die Platte Platz hat und niemand sonst die Datenbank festhält. Agenten wiederholen, was nicht \
            bestätigt wurde.";
    }
    AUDIT_DIFFERS = 9504 Error(sequence, what) {
        en "The audit trail is not the one that an agent saw, at entry %1: %2",
           "Run `backstay audit verify`. Unless an older database was put back, somebody changed it.";
        de "Die Prüfspur ist nicht die, die ein Agent sah, bei Eintrag %1: %2",
           "`backstay audit verify` ausführen. Wurde keine ältere Datenbank zurückgelegt, hat jemand sie geändert.";
    }
}
