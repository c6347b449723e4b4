//! Every other call: it goes on to Wine's DLL as it came, whatever its parameters are.

use std::arch::naked_asm;
use std::ffi::{CStr, c_void};
use std::mem::{size_of, transmute_copy};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use windows_sys::Win32::Foundation::{HINSTANCE, HMODULE};
use windows_sys::Win32::System::LibraryLoader::{GetProcAddress, LoadLibraryW};
use windows_sys::w;

/// `DLL_PROCESS_ATTACH`.
const BEGINS: u32 = 1;

/// Wine's own, as long as the process lives.
static WINE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// The loader's call: finds Wine's DLL and the calls in it before anybody can ask for one. Where it is missing, no program starts.
#[unsafe(no_mangle)]
pub extern "system" fn DllMain(module: HINSTANCE, reason: u32, _reserved: *const c_void) -> i32 {
    if reason != BEGINS {
        return 1;
    }
    let found = [w!(r"C:\windows\wine\crypt32.dll"), w!(r"C:\windows\system32\crypt32.dll")].into_iter().find_map(|path| {
        // SAFETY: the path is terminated.
        let wine: HMODULE = unsafe { LoadLibraryW(path) };
        (!wine.is_null() && wine != module).then_some(wine)
    });
    let Some(wine) = found else { return 0 };
    WINE.store(wine, Ordering::Release);
    i32::from(find())
}

/// A call of Wine's own, of this type.
///
/// # Panics
/// When Wine has none of this name.
pub(crate) fn real<F: Copy>(name: &CStr) -> F {
    assert_eq!(size_of::<F>(), size_of::<usize>());
    let call = address(name);
    assert!(!call.is_null(), "{name:?}");
    // SAFETY: a function's address has the size of a pointer, and those who ask know the signature of what they name.
    unsafe { transmute_copy(&call) }
}

fn address(name: &CStr) -> *mut c_void {
    // SAFETY: the library is loaded and stays so; the name is terminated.
    let call = unsafe { GetProcAddress(WINE.load(Ordering::Acquire), name.as_ptr().cast()) };
    call.map_or(ptr::null_mut(), |call| call as *mut c_void)
}

macro_rules! passed_on {
    ($($name:ident)*) => {
        #[expect(non_upper_case_globals, reason = "each has the name of its call")]
        mod calls {
            use super::*;

            $(pub(super) static $name: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());)*
        }

        /// Whether all were found.
        fn find() -> bool {
            let mut all = true;
            $(
                let call = address(const { match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => panic!("a name has no NUL inside"),
                } });
                all &= !call.is_null();
                calls::$name.store(call, Ordering::Release);
            )*
            all
        }

        $(
            #[doc = concat!("`", stringify!($name), "` of Wine.")]
            ///
            /// # Safety
            /// As for the call of that name.
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            pub unsafe extern "system" fn $name() {
                naked_asm!("jmp qword ptr [rip + {call}]", call = sym calls::$name)
            }
        )*
    };
}

passed_on! {
    CertAddCRLContextToStore CertAddCTLContextToStore CertAddCertificateLinkToStore
    CertAddEncodedCRLToStore CertAddEncodedCTLToStore CertAddEncodedCertificateToStore CertAddEncodedCertificateToSystemStoreA
    CertAddEncodedCertificateToSystemStoreW CertAddEnhancedKeyUsageIdentifier CertAddSerializedElementToStore
    CertAddStoreToCollection CertAlgIdToOID CertCloseStore CertCompareCertificate CertCompareCertificateName
    CertCompareIntegerBlob CertComparePublicKeyInfo CertControlStore CertCreateCRLContext CertCreateCTLContext
    CertCreateCertificateChainEngine CertCreateCertificateContext CertCreateContext CertCreateSelfSignCertificate
    CertDeleteCRLFromStore CertDeleteCTLFromStore CertDuplicateCRLContext CertDuplicateCTLContext
    CertDuplicateCertificateChain CertDuplicateCertificateContext CertDuplicateStore CertEnumCRLContextProperties
    CertEnumCRLsInStore CertEnumCTLContextProperties CertEnumCTLsInStore CertEnumCertificateContextProperties
    CertEnumPhysicalStore CertEnumSystemStore CertFindAttribute CertFindCRLInStore CertFindCTLInStore CertFindCertificateInCRL
    CertFindChainInStore CertFindExtension CertFindRDNAttr CertFindSubjectInCTL CertFreeCRLContext CertFreeCTLContext
    CertFreeCertificateChain CertFreeCertificateChainEngine CertFreeCertificateContext CertGetCRLContextProperty
    CertGetCRLFromStore CertGetCTLContextProperty CertGetCertificateChain CertGetEnhancedKeyUsage CertGetIntendedKeyUsage
    CertGetIssuerCertificateFromStore CertGetNameStringA CertGetNameStringW CertGetPublicKeyLength CertGetStoreProperty
    CertGetSubjectCertificateFromStore CertGetValidUsages CertIsRDNAttrsInCertificateName CertIsValidCRLForCertificate
    CertNameToStrA CertNameToStrW CertOIDToAlgId CertOpenSystemStoreA CertOpenSystemStoreW CertRDNValueToStrA CertRDNValueToStrW
    CertRegisterPhysicalStore CertRegisterSystemStore CertRemoveEnhancedKeyUsageIdentifier CertRemoveStoreFromCollection
    CertSaveStore CertSerializeCRLStoreElement CertSerializeCTLStoreElement CertSerializeCertificateStoreElement
    CertSetCRLContextProperty CertSetCTLContextProperty CertSetEnhancedKeyUsage CertSetStoreProperty CertStrToNameA
    CertStrToNameW CertUnregisterPhysicalStore CertUnregisterSystemStore CertVerifyCRLRevocation CertVerifyCRLTimeValidity
    CertVerifyCTLUsage CertVerifyCertificateChainPolicy CertVerifyRevocation CertVerifySubjectCertificateContext
    CertVerifyTimeValidity CertVerifyValidityNesting CreateFileU CryptAcquireCertificatePrivateKey CryptAcquireContextU
    CryptBinaryToStringA CryptBinaryToStringW CryptCloseAsyncHandle CryptCreateAsyncHandle CryptDecodeMessage CryptDecodeObject
    CryptDecodeObjectEx CryptDecryptAndVerifyMessageSignature CryptDecryptMessage CryptEncodeObject CryptEncodeObjectEx
    CryptEncryptMessage CryptEnumOIDFunction CryptEnumOIDInfo CryptEnumProvidersU CryptExportPKCS8 CryptExportPublicKeyInfo
    CryptExportPublicKeyInfoEx CryptFindCertificateKeyProvInfo CryptFindLocalizedName CryptFindOIDInfo CryptFormatObject
    CryptFreeOIDFunctionAddress CryptGetAsyncParam CryptGetDefaultOIDDllList CryptGetDefaultOIDFunctionAddress
    CryptGetMessageCertificates CryptGetMessageSignerCount CryptGetOIDFunctionAddress CryptGetOIDFunctionValue
    CryptHashCertificate CryptHashCertificate2 CryptHashMessage CryptHashPublicKeyInfo CryptHashToBeSigned CryptImportPKCS8
    CryptImportPublicKeyInfo CryptImportPublicKeyInfoEx CryptImportPublicKeyInfoEx2 CryptInitOIDFunctionSet
    CryptInstallOIDFunctionAddress CryptLoadSip CryptMemAlloc CryptMemFree CryptMemRealloc CryptMsgCalculateEncodedLength
    CryptMsgClose CryptMsgControl CryptMsgCountersign CryptMsgCountersignEncoded CryptMsgDuplicate CryptMsgEncodeAndSignCTL
    CryptMsgGetAndVerifySigner CryptMsgGetParam CryptMsgOpenToDecode CryptMsgOpenToEncode CryptMsgSignCTL CryptMsgUpdate
    CryptMsgVerifyCountersignatureEncoded CryptMsgVerifyCountersignatureEncodedEx CryptProtectData CryptProtectMemory
    CryptQueryObject CryptRegisterDefaultOIDFunction CryptRegisterOIDFunction CryptRegisterOIDInfo CryptSIPAddProvider
    CryptSIPCreateIndirectData CryptSIPGetSignedDataMsg CryptSIPLoad CryptSIPPutSignedDataMsg CryptSIPRemoveProvider
    CryptSIPRemoveSignedDataMsg CryptSIPRetrieveSubjectGuid CryptSIPRetrieveSubjectGuidForCatalogFile CryptSIPVerifyIndirectData
    CryptSetAsyncParam CryptSetKeyIdentifierProperty CryptSetOIDFunctionValue CryptSetProviderU CryptSignAndEncodeCertificate
    CryptSignAndEncryptMessage CryptSignCertificate CryptSignHashU CryptSignMessage CryptSignMessageWithKey CryptStringToBinaryA
    CryptStringToBinaryW CryptUnprotectData CryptUnprotectMemory CryptUnregisterDefaultOIDFunction CryptUnregisterOIDFunction
    CryptUnregisterOIDInfo CryptVerifyCertificateSignature CryptVerifyCertificateSignatureEx CryptVerifyDetachedMessageHash
    CryptVerifyDetachedMessageSignature CryptVerifyMessageHash CryptVerifyMessageSignature CryptVerifyMessageSignatureWithKey
    CryptVerifySignatureU I_CertUpdateStore I_CryptAllocTls I_CryptCreateLruCache I_CryptCreateLruEntry I_CryptDetachTls
    I_CryptFindLruEntry I_CryptFindLruEntryData I_CryptFlushLruCache I_CryptFreeLruCache I_CryptFreeTls I_CryptGetAsn1Decoder
    I_CryptGetAsn1Encoder I_CryptGetDefaultCryptProv I_CryptGetDefaultCryptProvForEncrypt I_CryptGetOssGlobal I_CryptGetTls
    I_CryptInsertLruEntry I_CryptInstallAsn1Module I_CryptInstallOssGlobal I_CryptReadTrustedPublisherDWORDValueFromRegistry
    I_CryptReleaseLruEntry I_CryptSetTls I_CryptUninstallAsn1Module I_CryptUninstallOssGlobal PFXExportCertStore
    PFXExportCertStoreEx PFXImportCertStore PFXIsPFXBlob PFXVerifyPassword RegCreateHKCUKeyExU RegCreateKeyExU RegDeleteValueU
    RegEnumValueU RegOpenHKCUKeyExU RegOpenKeyExU RegQueryInfoKeyU RegQueryValueExU RegSetValueExU
}
