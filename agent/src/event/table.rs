//! Every event of the agent.
//!
//! An id means one thing for ever: one that is no longer used is not given again. Strings keep their order; a new one is added at
//! the end. The build script reads this file, too, and makes the texts of the exe from it; a test holds docs/events.md to it.

native::events! {
    STARTED = 1000 Information(version, state) {
        en "The agent %1 has started. Its state is in %2.", "";
        de "Der Agent %1 wurde gestartet. Sein Zustand liegt in %2.", "";
    }
    STOP_REQUESTED = 1001 Information(version) {
        en "The agent %1 was asked to stop. Work in hand comes to its end first, within a minute.", "";
        de "Der Agent %1 wurde aufgefordert anzuhalten. Begonnene Arbeit wird zuvor beendet, binnen einer Minute.", "";
    }
    STOPPED = 1002 Information(version) {
        en "The agent %1 has stopped.", "";
        de "Der Agent %1 wurde angehalten.", "";
    }
    FAILED = 1003 Error(error) {
        en "The agent cannot go on and ends: %1",
           "Put right what is named. The service starts it again; nothing on port 444 changes while it is down, and nothing \
            is watched.";
        de "Der Agent kann nicht weiterarbeiten und endet: %1",
           "Die genannte Ursache beheben. Der Dienst startet ihn erneut; solange er steht, ändert sich an Port 444 nichts und \
            niemand \
            überwacht ihn.";
    }
    LEFT_AT_WORK = 1004 Warning(version) {
        en "The agent %1 stopped while a plan was at work: it did not end within a minute.",
           "Start the agent again. It takes the plan up where its journal ends, before anything else.";
        de "Der Agent %1 hielt an, während ein Plan lief: dieser endete nicht binnen einer Minute.",
           "Den Agenten wieder starten. Er nimmt den Plan vor allem anderen dort auf, wo das Journal endet.";
    }
    CONFIGURATION_REFUSED = 1010 Error(error) {
        en "The configuration of the agent is refused, and it does not start: %1",
           "Correct the named value; `backstay-agent config show --origin` says where each comes from.";
        de "Die Konfiguration des Agenten wird abgelehnt, er startet nicht: %1",
           "Den genannten Wert berichtigen; `backstay-agent config show --origin` zeigt, woher jeder stammt.";
    }
    SETTING_NOT_MADE = 1011 Warning(setting, error) {
        en "A setting of the service could not be made: %1: %2",
           "The agent works without it. Make it by hand, or run `backstay-agent install` as an administrator.";
        de "Eine Einstellung des Dienstes konnte nicht gesetzt werden: %1: %2",
           "Der Agent arbeitet ohne sie. Von Hand setzen oder `backstay-agent install` als Administrator ausführen.";
    }
    STATE_FOLDER_WIDE = 1012 Warning(folder, who) {
        en "The state folder %1 is open to more than the system and administrators: %2",
           "Take that access away: whoever reads the folder can copy the agent's files, whoever writes there can mislead it.";
        de "Der Zustandsordner %1 ist nicht nur für das System und Administratoren offen: %2",
           "Diesen Zugriff entziehen: wer den Ordner liest, kann Dateien des Agenten kopieren, wer darin schreibt, kann ihn \
            täuschen.";
    }
    HEALTHY = 2000 Information(view) {
        en "The back end on port 444 is in order: %1", "";
        de "Das Backend auf Port 444 ist in Ordnung: %1", "";
    }
    NO_BACK_END = 2001 Information(view) {
        en "This host has no back end to watch: %1", "";
        de "Dieser Host hat kein Backend, das zu überwachen wäre: %1", "";
    }
    BACK_END_UNKNOWN = 2002 Warning(view) {
        en "The state of port 444 cannot be judged: %1",
           "See which fact is unknown and why: `backstay-agent observe`. Nothing is done as long as it is unknown.";
        de "Der Zustand von Port 444 ist nicht zu beurteilen: %1",
           "Nachsehen, welche Angabe warum fehlt: `backstay-agent observe`. Solange sie fehlt, wird nichts getan.";
    }
    EXPIRING = 2003 Warning(view) {
        en "The back-end certificate expires soon: %1",
           "Approve the renewal that the controller proposes: `backstay plan list`. Do not renew it by hand.";
        de "Das Backend-Zertifikat läuft bald ab: %1",
           "Die Erneuerung genehmigen, die der Controller vorschlägt: `backstay plan list`. Nicht von Hand erneuern.";
    }
    EXPIRED = 2004 Error(view) {
        en "The back-end certificate has expired: %1",
           "Approve the renewal now: `backstay plan list`. Exchange goes on proxying to some clients and fails for others.";
        de "Das Backend-Zertifikat ist abgelaufen: %1",
           "Die Erneuerung jetzt genehmigen: `backstay plan list`. Exchange bedient manche Clients weiter und andere nicht.";
    }
    INTERCEPTED = 2005 Warning(view) {
        en "Port 444 shows another certificate than its record names: %1",
           "Something stands between, or IIS must be restarted. See docs/findings/BST104.md.";
        de "Port 444 zeigt ein anderes Zertifikat, als sein Eintrag nennt: %1",
           "Etwas steht dazwischen, oder IIS muss neu gestartet werden. Siehe docs/findings/BST104.md.";
    }
    MISNAMED = 2006 Warning(view) {
        en "The certificate on port 444 does not name this server: %1", "See docs/findings/BST203.md.";
        de "Das Zertifikat auf Port 444 nennt diesen Server nicht: %1", "Siehe docs/findings/BST203.md.";
    }
    DISTRUSTED = 2007 Error(view) {
        en "The certificate on port 444 is distrusted or listed as compromised: %1", "See docs/findings/BST204.md.";
        de "Dem Zertifikat auf Port 444 wird misstraut, oder es gilt als kompromittiert: %1", "Siehe docs/findings/BST204.md.";
    }
    DEAD = 2008 Error(view) {
        en "Port 444 does not complete a TLS handshake: %1",
           "OWA, ECP, Outlook and the management shell fail on this server. See docs/findings/BST105.md.";
        de "Port 444 schließt keinen TLS-Handshake ab: %1",
           "OWA, ECP, Outlook und die Verwaltungsshell versagen auf diesem Server. Siehe docs/findings/BST105.md.";
    }
    KEY_LOST = 2009 Error(view) {
        en "The private key of the certificate on port 444 cannot be used: %1",
           "The agent puts a lost link right by itself where the policy lets it. Otherwise see docs/findings/BST103.md.";
        de "Der private Schlüssel des Zertifikats auf Port 444 ist nicht benutzbar: %1",
           "Eine verlorene Verknüpfung stellt der Agent selbst wieder her, wenn die Richtlinie es erlaubt. Sonst: \
            docs/findings/BST103.md.";
    }
    DELETED = 2010 Error(view) {
        en "The back-end certificate was deleted: the record of port 444 names one that is not in its store: %1",
           "Do not restart IIS or the server: port 444 may still serve it from memory. The agent puts it back after the quiet \
            time where \
            the policy lets it; otherwise `backstay plan list`.";
        de "Das Backend-Zertifikat wurde gelöscht: der Eintrag von Port 444 nennt eines, das nicht in seinem Speicher liegt: \
            %1",
           "IIS und Server nicht neu starten: Port 444 dient vielleicht noch aus dem Speicher. Der Agent legt es nach der \
            Ruhezeit zurück, \
            wenn die Richtlinie es erlaubt; sonst `backstay plan list`.";
    }
    UNBOUND = 2011 Error(view) {
        en "Port 444 has no certificate record: %1",
           "Leave it to the agent, which puts the record back after the quiet time where the policy lets it; otherwise \
            `backstay plan list`.";
        de "Port 444 hat keinen Zertifikatseintrag: %1",
           "Dem Agenten überlassen: er setzt den Eintrag nach der Ruhezeit zurück, wenn die Richtlinie es erlaubt; sonst \
            `backstay plan list`.";
    }
    URGENT_FINDING = 2020 Error(code, finding) {
        en "Found on this host: %1, %2", "See docs/findings, the page of that code: what it means, and what to do now.";
        de "Auf diesem Host gefunden: %1, %2", "Siehe docs/findings, Seite dieses Codes: was es heißt und was jetzt zu tun \
            ist.";
    }
    FINDING = 2021 Warning(code, finding) {
        en "Found on this host: %1, %2", "See docs/findings, the page of that code, in working hours.";
        de "Auf diesem Host gefunden: %1, %2", "Siehe docs/findings, Seite dieses Codes, zur Arbeitszeit.";
    }
    FINDING_GONE = 2022 Information(code, finding) {
        en "No longer found on this host: %1, %2", "";
        de "Auf diesem Host nicht mehr gefunden: %1, %2", "";
    }
    TRANSPORT_CERTIFICATE = 2023 Warning(code, finding) {
        en "The transport service cannot use its certificate: %1, %2",
           "Exchange tells of it by MSExchangeFrontEndTransport 12014 and MSExchangeTransport 12018 in the log Application. \
            See \
            docs/findings, the page of that code.";
        de "Der Transportdienst kann sein Zertifikat nicht benutzen: %1, %2",
           "Exchange meldet das als MSExchangeFrontEndTransport 12014 und MSExchangeTransport 12018 im Protokoll Anwendung. \
            Siehe \
            docs/findings, Seite dieses Codes.";
    }
    HOST_UNSEEN = 2030 Warning(error) {
        en "The host could not be looked at: %1", "The agent tries again. Until then nothing of the host is known, and \
            nothing is done.";
        de "Der Host konnte nicht untersucht werden: %1", "Der Agent versucht es weiter. Bis dahin ist nichts bekannt und \
            wird nichts getan.";
    }
    HOST_SEEN = 2031 Information(version) {
        en "The host can be looked at again (agent %1).", "";
        de "Der Host kann wieder untersucht werden (Agent %1).", "";
    }
    WATCH_FAILED = 2032 Warning(error) {
        en "Changes of the host are not told to the agent: %1",
           "It looks once a minute, or as its configuration says, instead of at once. Lasting, it is worth a look at the \
            named cause.";
        de "Änderungen am Host werden dem Agenten nicht gemeldet: %1",
           "Er sieht statt sofort jede Minute nach, oder wie konfiguriert. Hält es an, lohnt ein Blick auf die genannte \
            Ursache.";
    }
    WATCH_RESUMED = 2033 Information(version) {
        en "Changes of the host are told to the agent again (agent %1).", "";
        de "Änderungen am Host werden dem Agenten wieder gemeldet (Agent %1).", "";
    }
    MACHINE_UNKNOWN = 2034 Warning(error) {
        en "The agent does not know on which machine it is, and waits: %1",
           "Value MachineGuid of HKLM\\SOFTWARE\\Microsoft\\Cryptography must be readable. Without it the host would look \
            like a clone.";
        de "Der Agent weiß nicht, auf welchem Rechner er ist, und wartet: %1",
           "Wert MachineGuid in HKLM\\SOFTWARE\\Microsoft\\Cryptography muss lesbar sein. Ohne ihn sähe der Host wie ein Klon \
            aus.";
    }
    POLICY_HELD = 3000 Information(version, id) {
        en "Policy %1 is held from here on (id %2).", "";
        de "Ab jetzt gilt Richtlinie %1 (Kennung %2).", "";
    }
    TRUST_HELD = 3001 Information(version, id) {
        en "Trust document %1 is held from here on (id %2).", "";
        de "Ab jetzt gilt Vertrauensdokument %1 (Kennung %2).", "";
    }
    POLICY_REFUSED = 3002 Error(error) {
        en "A policy is refused; the one before stays in force: %1",
           "Somebody sent what the estate's approvers did not sign, or signed twice. Ask who applied a policy: `backstay \
            audit list`.";
        de "Eine Richtlinie wird abgelehnt, die vorige gilt weiter: %1",
           "Jemand sandte, was die Genehmiger nicht oder zweimal verschieden unterschrieben. Klären, wer sie anwandte: \
            `backstay audit list`.";
    }
    TRUST_REFUSED = 3003 Error(error) {
        en "A trust document is refused; the one before stays in force: %1",
           "Somebody sent what the estate's root did not sign. If nobody did so by mistake, take the controller for stolen.";
        de "Ein Vertrauensdokument wird abgelehnt, das vorige gilt weiter: %1",
           "Jemand sandte, was die Wurzel nicht unterschrieb. War es kein Versehen, ist der Controller als gestohlen zu \
            betrachten.";
    }
    AUTHORITY_LAPSED = 3004 Warning(days) {
        en "The agent no longer acts by itself: no controller confirmed its policy within %1 days.",
           "See why no session comes about (event 5010). A loss on port 444 is still seen and told, and not repaired.";
        de "Der Agent handelt nicht mehr selbst: kein Controller bestätigte seine Richtlinie binnen %1 Tagen.",
           "Nachsehen, warum keine Sitzung zustande kommt (Ereignis 5010). Ein Verlust auf Port 444 wird gesehen, aber nicht \
            behoben.";
    }
    AUTHORITY_FRESH = 3005 Information(days) {
        en "A controller confirmed the policy within %1 days: the agent acts by itself again.", "";
        de "Ein Controller bestätigte die Richtlinie binnen %1 Tagen: der Agent handelt wieder selbst.", "";
    }
    CLOCK_DOUBTED = 3006 Warning(why) {
        en "The clock of this host is not believed: %1",
           "Put the clock right. Until then no approved plan is begun and nothing is created; what was lost is still put back.";
        de "Der Uhr dieses Hosts wird nicht geglaubt: %1",
           "Die Uhr stellen. Bis dahin beginnt kein genehmigter Plan und wird nichts neu erzeugt; Verlorenes wird weiter \
            zurückgelegt.";
    }
    CLOCK_BELIEVED = 3007 Information(version) {
        en "The clock of this host is believed again (agent %1).", "";
        de "Der Uhr dieses Hosts wird wieder geglaubt (Agent %1).", "";
    }
    HOLD_ON = 3010 Warning(why) {
        en "Nothing is done on this host: %1", "When the reason is gone: `backstay-agent hold off`.";
        de "Auf diesem Host wird nichts getan: %1", "Wenn der Grund entfällt: `backstay-agent hold off`.";
    }
    HOLD_OFF = 3011 Information(version) {
        en "The hold of this host is lifted (agent %1).", "";
        de "Das Anhalten dieses Hosts ist aufgehoben (Agent %1).", "";
    }
    PLAN_OFFERED = 3012 Information(plan) {
        en "Plan %1 was offered and is judged.", "";
        de "Plan %1 wurde angeboten und wird geprüft.", "";
    }
    OWN_PLAN = 3013 Information(plan, purpose) {
        en "The policy lets the agent act by itself: plan %1, %2.", "";
        de "Die Richtlinie lässt den Agenten selbst handeln: Plan %1, %2.", "";
    }
    PLAN_REFUSED = 3014 Warning(plan, notes) {
        en "Plan %1 is refused, nothing was done: %2",
           "Each reason names a fact that differs from what was approved. `backstay explain SERVER` says what would change it.";
        de "Plan %1 wird abgelehnt, nichts wurde getan: %2",
           "Jeder Grund nennt, was anders ist als genehmigt. `backstay explain SERVER` sagt, was das ändern würde.";
    }
    PLAN_TAKEN_BACK = 3015 Information(plan) {
        en "Plan %1 was taken back by the controller.", "";
        de "Plan %1 wurde vom Controller zurückgenommen.", "";
    }
    STOP_REFUSED = 3016 Warning(what, error) {
        en "Refused: %1: %2", "Ask whoever sent it. What held the host before holds it now.";
        de "Abgelehnt: %1: %2", "Den Absender fragen. Was den Host zuvor anhielt, hält ihn weiter an.";
    }
    PLAN_BEGAN = 4000 Information(plan) {
        en "Plan %1 has begun.", "";
        de "Plan %1 hat begonnen.", "";
    }
    PLAN_RESTORED = 4001 Information(plan, notes) {
        en "Plan %1 is done; a fresh handshake on port 444 shows it: %2", "";
        de "Plan %1 ist ausgeführt, ein frischer Handshake auf Port 444 zeigt es: %2", "";
    }
    PLAN_UNDONE = 4002 Warning(plan, notes) {
        en "Plan %1 was taken back step by step; port 444 is as it was: %2",
           "See in the reasons what did not hold. The same facts may be approved for another attempt.";
        de "Plan %1 wurde Schritt für Schritt zurückgenommen, Port 444 ist wie zuvor: %2",
           "Den Gründen entnehmen, was nicht hielt. Für dieselbe Lage kann ein weiterer Versuch genehmigt werden.";
    }
    PLAN_FAILED = 4003 Error(plan, notes) {
        en "Plan %1 is neither done nor taken back: %2",
           "Look at port 444 now: `backstay-agent observe`. Nothing more is done in this group until a person decides.";
        de "Plan %1 ist weder ausgeführt noch zurückgenommen: %2",
           "Port 444 jetzt prüfen: `backstay-agent observe`. In dieser Gruppe geschieht nichts weiter, bis jemand entscheidet.";
    }
    PLAN_SUPERSEDED = 4004 Warning(plan, notes) {
        en "Plan %1 ended because somebody else changed what it works on; nothing was written after that: %2",
           "Find out who: the reasons name what changed. The controller plans anew for what is there now.";
        de "Plan %1 endete, weil jemand anderes änderte, woran er arbeitet; danach wurde nichts geschrieben: %2",
           "Klären, wer: die Gründe nennen, was sich änderte. Der Controller plant neu für die jetzige Lage.";
    }
    RUN_CUT_OFF = 4005 Warning(plan, outcome, notes) {
        en "A plan that was cut off by a stop or a crash has come to its end. Plan %1: %2: %3",
           "Nothing, when it is restored or undone. See why the agent ended in mid-plan: the events before this one.";
        de "Ein Plan, den ein Halt oder Absturz unterbrach, ist zu Ende gebracht. Plan %1: %2: %3",
           "Nichts bei restored und undone. Nachsehen, warum der Agent mitten im Plan endete: die Ereignisse davor.";
    }
    RUN_STAYS_OPEN = 4006 Error(error) {
        en "A plan that was cut off could not be taken up, and nothing else is begun before: %1",
           "Put right what is named; the agent tries again with each look.";
        de "Ein unterbrochener Plan konnte nicht aufgenommen werden, und vorher wird nichts anderes begonnen: %1",
           "Die genannte Ursache beheben; der Agent versucht es bei jeder Untersuchung wieder.";
    }
    JOURNAL_DAMAGED = 4007 Error(why) {
        en "The journal of a plan cannot be believed, and nothing is done on this host: %1",
           "Look at port 444 (`backstay-agent observe`), put it right by hand if need be, then move the named file away and \
            restart the agent.";
        de "Dem Journal eines Plans ist nicht zu glauben, auf diesem Host wird nichts getan: %1",
           "Port 444 prüfen (`backstay-agent observe`), notfalls von Hand richten, dann die genannte Datei wegschieben und \
            den Agenten neu starten.";
    }
    OLD_RECORD_LOST = 4008 Error(endpoint, error) {
        en "The certificate record of %1 could neither be written nor put back as it was: %2",
           "Port 444 is without a record. The agent tries again with its next look; by hand: `netsh http add sslcert` with \
            the values of \
            `backstay-agent observe`.";
        de "Der Zertifikatseintrag von %1 konnte weder geschrieben noch zurückgesetzt werden: %2",
           "Port 444 hat keinen Eintrag. Der Agent versucht es bei der nächsten Untersuchung wieder; von Hand: `netsh http \
            add sslcert` mit \
            den Werten von `backstay-agent observe`.";
    }
    RECEIPT_NOT_KEPT = 4009 Error(error) {
        en "The receipt of a plan could not be kept, and the plan stays open: %1",
           "Make room on the disk, or put right what is named. Nothing else is begun before.";
        de "Die Quittung eines Plans konnte nicht abgelegt werden, der Plan bleibt offen: %1",
           "Platz auf der Platte schaffen oder die genannte Ursache beheben. Vorher wird nichts anderes begonnen.";
    }
    WAITING_FOR_TOKEN = 5000 Warning(error) {
        en "This host has not joined an estate: %1",
           "Make a join token on the controller (`backstay token create`) and put it into the named file.";
        de "Dieser Host ist keinem Verbund beigetreten: %1",
           "Auf dem Controller ein Beitrittstoken erzeugen (`backstay token create`) und in die genannte Datei legen.";
    }
    NOT_JOINED = 5001 Warning(error) {
        en "This host could not join the estate yet: %1",
           "The agent tries again. When a person must admit the host, the same token stays good until then.";
        de "Dieser Host konnte dem Verbund noch nicht beitreten: %1",
           "Der Agent versucht es weiter. Muss ein Mensch den Host zulassen, bleibt dasselbe Token bis dahin gültig.";
    }
    JOINED = 5002 Information(estate, server) {
        en "This host has joined estate %1 as %2.", "";
        de "Dieser Host ist dem Verbund %1 als %2 beigetreten.", "";
    }
    TOKEN_STAYS = 5003 Warning(error) {
        en "The used join token could not be removed: %1", "Remove the file. It is of no use to anybody any more.";
        de "Das verbrauchte Beitrittstoken konnte nicht entfernt werden: %1", "Die Datei entfernen. Sie nützt niemandem mehr.";
    }
    NO_SESSION = 5010 Warning(error) {
        en "No controller is reached: %1",
           "The agent goes on watching, repairs what the policy lets it, and tells everything later. Told once, until there \
            is a session again.";
        de "Kein Controller ist erreichbar: %1",
           "Der Agent überwacht weiter, behebt, was die Richtlinie erlaubt, und meldet alles später. Einmal gemeldet, bis \
            wieder eine Sitzung besteht.";
    }
    SESSION = 5011 Information(estate, server) {
        en "A session with a controller of estate %1 has begun, as %2.", "";
        de "Eine Sitzung mit einem Controller des Verbunds %1 hat begonnen, als %2.", "";
    }
    SENT_AWAY = 5012 Error(error) {
        en "The controller does not let this host speak: %1",
           "It was quarantined as a clone or restored copy, or evicted. `backstay server show SERVER` says which; a person \
            must decide.";
        de "Der Controller lässt diesen Host nicht sprechen: %1",
           "Er steht als Klon oder zurückgesetzte Kopie unter Quarantäne oder wurde ausgeschlossen. `backstay server show \
            SERVER` sagt es; ein \
            Mensch muss entscheiden.";
    }
    MESSAGE_REFUSED = 5013 Warning(error) {
        en "A message of the controller cannot be, and is ignored: %1", "Controller and agent may differ in version: update \
            the older one.";
        de "Eine Nachricht des Controllers ist unmöglich und wird übergangen: %1",
           "Controller und Agent haben vielleicht verschiedene Versionen: den älteren aktualisieren.";
    }
    IDENTITY_RENEWED = 5020 Information(until) {
        en "The agent's own certificate was renewed. It is to be renewed again on %1.", "";
        de "Das eigene Zertifikat des Agenten wurde erneuert. Es ist wieder zu erneuern am %1.", "";
    }
    IDENTITY_NOT_RENEWED = 5021 Warning(error) {
        en "The agent's own certificate could not be renewed: %1",
           "The agent tries again. After its end it can renew it for 180 days more; then a person must admit the host.";
        de "Das eigene Zertifikat des Agenten konnte nicht erneuert werden: %1",
           "Der Agent versucht es weiter. Nach dem Ablauf kann er es noch 180 Tage erneuern; danach muss ein Mensch den Host \
            zulassen.";
    }
    IDENTITY_UNUSABLE = 5022 Error(error) {
        en "Key and certificate of the agent cannot be used together: %1",
           "Its renewal may put that right. Otherwise let the host join anew: remove identity.* and joined.json from the \
            state folder, and give \
            it a new join token.";
        de "Schlüssel und Zertifikat des Agenten passen nicht zusammen: %1",
           "Die Erneuerung behebt das vielleicht. Sonst den Host neu beitreten lassen: identity.* und joined.json aus dem \
            Zustandsordner \
            entfernen und ein neues Beitrittstoken geben.";
    }
    KEY_SEALED = 5023 Information(path) {
        en "The agent's key %1 was sealed: from here on only this machine opens it.", "";
        de "Der Schlüssel des Agenten %1 wurde versiegelt: ab jetzt öffnet ihn nur dieser Rechner.", "";
    }
    KEY_REPLACED = 5024 Warning(error) {
        en "The agent's key does not open here and is made anew, since this host has not joined: %1",
           "Nothing, if this machine was made from an image of another. Otherwise find out who put the file there.";
        de "Der Schlüssel des Agenten öffnet sich hier nicht und wird neu erzeugt, da dieser Host nicht beigetreten ist: %1",
           "Nichts, wenn dieser Rechner aus dem Abbild eines anderen entstand. Sonst klären, wer die Datei dorthin legte.";
    }
    PANICKED = 9000 Error(error) {
        en "The agent met an error of its own and ends: %1",
           "Please report it with this text. The service starts the agent again, and a plan at work is taken up from its \
            journal.";
        de "Der Agent ist auf einen eigenen Fehler gestoßen und endet: %1",
           "Bitte mit diesem Text melden. Der Dienst startet den Agenten erneut, ein laufender Plan wird aus dem Journal \
            aufgenommen.";
    }
    TOO_MANY = 9001 Warning(id, most) {
        en "More than %2 events of id %1 within an hour: further ones are left out here.",
           "See what flaps: the last events of that id. The lines of the agent have them all.";
        de "Mehr als %2 Ereignisse mit Kennung %1 binnen einer Stunde: weitere fehlen hier.",
           "Nachsehen, was hin und her wechselt: die letzten Ereignisse dieser Kennung. Die Zeilen des Agenten enthalten alle.";
    }
    EVENTS_LOST = 9002 Warning(count) {
        en "%1 events were left out: the event log took them too slowly.", "See whether the service of the event log is well.";
        de "%1 Ereignisse fehlen: das Ereignisprotokoll nahm sie zu langsam an.", "Prüfen, ob es dem Dienst des \
            Ereignisprotokolls gut geht.";
    }
    SESSION_UNREADABLE = 9003 Error(path, error) {
        en "What was kept of the last session does not read: %1: %2",
           "Nothing, if it happens once: the controller may quarantine the host as a copy, and a person admits it.";
        de "Was von der letzten Sitzung aufbewahrt wurde, ist nicht lesbar: %1: %2",
           "Nichts, wenn es einmal geschieht: der Controller stellt den Host vielleicht als Kopie unter Quarantäne, dann \
            lässt ein Mensch ihn zu.";
    }
    STATE_NOT_WRITTEN = 9004 Warning(what, error) {
        en "A file of the agent's state could not be written: %1: %2", "See that the disk has room and that nobody else holds \
            the file.";
        de "Eine Datei des Agenten konnte nicht geschrieben werden: %1: %2",
           "Dafür sorgen, dass die Platte Platz hat und kein anderes Programm die Datei festhält.";
    }
    DISK_FULL = 9005 Error(what, error) {
        en "The disk is full: %1: %2",
           "Make room. What is at work can end, since room was kept for it; nothing new begins, and nothing new is remembered.";
        de "Die Platte ist voll: %1: %2",
           "Platz schaffen. Was läuft, kann enden, dafür ist Platz zurückgelegt; Neues beginnt nicht und wird nicht gemerkt.";
    }
    RECORD_NOT_SHOWN = 9006 Warning(endpoint) {
        en "The record of %1 was written, and the registry does not show it.",
           "See that `netsh http show sslcert` does: after a restart only what is in the registry is served.";
        de "Der Eintrag von %1 wurde geschrieben, und die Registrierung zeigt ihn nicht.",
           "Prüfen, ob `netsh http show sslcert` ihn zeigt: nach einem Neustart zählt nur, was in der Registrierung steht.";
    }
}
