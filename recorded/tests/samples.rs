//! One small export of each kind, all of one server.

use base64::Engine;

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let object = |kind: &str, members: &str| {
        format!("\u{feff}<Objs><Obj RefId=\"0\"><TN RefId=\"0\"><T>{kind}</T></TN><Props>{members}</Props></Obj></Objs>")
    };
    let blob = base64::engine::general_purpose::STANDARD.encode(
        [b"\x0f\x03\0\0\0\x14\0\0\0\x02".as_slice(), b"\x20\0\0\0\x01\0\0\0\x08\0\0\0", b"\x30\x06\x02\x01\x01\x02\x01\x02"]
            .concat(),
    );
    [
        object(
            "Microsoft.Exchange.Management.SystemConfigurationTasks.ExchangeCertificate",
            &format!("<BA N=\"SerializationData\">{blob}</BA><S N=\"PSComputerName\">ex1_x002E_contoso.test</S>"),
        ),
        object(
            "Microsoft.Exchange.Data.Directory.Management.ExchangeServer",
            "<S N=\"Name\">EX1</S><S N=\"AdminDisplayVersion\">Version 15.1 (Build 2507.6)</S><Ref N=\"Site\" RefId=\"0\"/>",
        ),
        object(
            "Microsoft.IIs.PowerShell.Framework.ConfigurationElement",
            "<S N=\"protocol\">https</S><S N=\"bindingInformation\">*:444:</S><I64 N=\"sslFlags\">0</I64>\
             <S N=\"certificateHash\">B30B89B96AD0351B53D73EC2B5EA7A8B6A746B2B</S>\
             <S N=\"ItemXPath\">/site[@name='Exchange Back End' and @id='2']</S>",
        ),
        object(
            "Microsoft.Exchange.Monitoring.ExchangeServicesStatus",
            "<Obj N=\"ServicesRunning\"><LST><S>W3Svc</S></LST></Obj><DT N=\"at\">2021-09-28T12:20:23-05:00</DT>",
        ),
        "<?xml version=\"1.0\"?><!-- x --><configuration><system.applicationHost><customMetadata><key path=\"LM/W3SVC/2\">\
         <property id=\"5506\" value=\"oXiHOzFAMOF0YxIuI7soWvDFEzg=\"/></key></customMetadata><sites><site name=\"a&#xA;&amp;\" id=\"2\">\
         <bindings><binding protocol=\"https\" bindingInformation=\"*:444:\"/></bindings></site></sites></system.applicationHost></configuration>"
            .to_owned(),
        "SSL Certificate bindings:\n-----\n\n    IP:port                      : 0.0.0.0:444\n    Certificate Hash             : \
         823884a32609dcdc8c4b5462952586c30d814073\n    Application ID               : {4dc3e181-e14b-4a21-b022-59fc669b0914}\n    \
         Certificate Store Name       : My\n    A : Enabled\n    B : Disabled\n    C : Enabled\n    D : 0\n    E : 0\n    F : (null)\n    \
         G : (null)\n    H : Disabled\n    I : Disabled\n"
            .to_owned(),
    ]
    .map(String::into_bytes)
    .into()
}
