"""Words before a full stop that may not end a sentence, for the thirteen languages that Bark speaks, in one set.

Nobody says which language a text is in, and speakers mix them, so a word is listed only where it does not end ordinary
sentences of another language. All are case-folded, without the last stop.
"""

from __future__ import annotations


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


NEVER_LAST = _words(
    # en
    "mr mrs ms messrs dr prof rev hon gen lt col capt cpt sgt cmdr maj gov sen rep pres supt mt vs viz cf e.g i.e eg",
    "ie approx",
    # de
    "hr fr frl dipl-ing dipl med ing mag univ habil z.b z.t z.zt z.z d.h u.a u.a.m u.ä o.ä i.d.r i.a bzw ca vgl sog",
    "evtl ggf inkl exkl zzgl kath geb gest dt engl franz allg bes insb o.g u.u s.o s.u lt jh jhd hl",
    # es
    "sr sra srta sres dña lic arq p.ej pág págs párrf admón gral núm tel avda ej ud uds ee",
    # fr
    "mme mmes mlle mlles mgr p.ex c-à-d env",
    # it
    "sig sig.ra sig.na dott dott.ssa avv geom rag ecc.mo egr gent.mo spett ad.es cfr",
    # pt
    "sra dra profa exmo exma eng av",
    # pl
    "np tj tzn tzw ww św ul al pl os im inż mgr ks bp hab ppłk płk gen por sierż dyr m.in b.r dz",
    # ru
    "т.е т.н т.к г-н г-жа г-ну ул пр просп пер наб д-р проф акад доц св тов гр ср напр англ нем фр лат пгт тел обл",
    "стр рис табл гл",
    # tr
    "doç yrd öğr av alb bkz örn çev haz mah cad sok apt",
    # hi
    "डॉ प्रो पं श्री श्रीमती कु स्व इं मो",
)  # fmt: skip
"""A name, a title's owner or an example must follow."""

RARELY_LAST = _words(
    "jr sr inc ltd corp co llc plc bros st ave blvd rd ste dept assn univ est gmbh ag kg bhf str a.d e.v s.a s.l",
    "s.p.a sp d.c ph.d m.d b.a m.a b.sc m.sc ll.m j.d ltda cia s.a.s av.a a.ş г в вв гг с см ч им doc sen ft",
)  # fmt: skip
"""The sentence is over only if a word follows that opens sentences."""

BEFORE_NUMBER = _words(
    "no nos nr n° nº p pp vol vols fig figs ch sec art arts par ver v ed eq s abs kap bd nrn ziff aufl cap tít inc",
    "apdo chap vers. pl pag pagg sez vol n rozdz poz godz ust pkt str t п пп ст кв д корп оф jan feb mar apr jun jul",
    "aug sep sept oct nov dec okt dez mär janv févr avr juil déc ene abr ago dic gen mag giu lug set ott fev mai dez",
    "янв фев мар апр авг сен сент окт ноя дек oca şub nis haz tem ağu eyl eki kas ara mon tue wed thu fri sat lun mié",
    "jue vie sáb mer gio ven sab sekt tel",
)  # fmt: skip
"""The sentence goes on if a number follows."""

AFTER_ORDINAL = _words(
    "januar februar märz april mai juni juli august september oktober november dezember jänner ocak şubat mart nisan",
    "mayıs haziran temmuz ağustos eylül ekim kasım aralık jahrhundert jahrhunderts jahrhunderten jh klasse platz mal",
    "geburtstag stock etage yüzyıl yüzyılda bölüm sınıf dünya kat",
)  # fmt: skip
"""After a number with a stop, these make it an ordinal."""

BEFORE_ORDINAL = _words(
    "am der die das dem den des vom zum zur beim im ab bis seit jeder jede jedes jeden ein eine einen einem ihr sein",
    "unser mein dein erst heinrich ludwig wilhelm friedrich karl otto",
)  # fmt: skip
"""Before a number with a stop, these make it an ordinal."""

OPENERS = _words(
    "a after all also although an and another any are as at because before both but by can could did do does each",
    "even every few first for from had has have he hello her here hers his how however i if in is it its just last",
    "later let many maybe meanwhile more most my next no nobody now of oh ok okay on once one only or other our",
    "perhaps please she should since so some soon still such sure thank thanks that the their then there these they",
    "this those though thus to today tomorrow tonight two unfortunately was we well were what when where which while",
    "who why will with would yes yesterday yet you your aber als am auch auf aus bei beim da damals danach dann darum",
    "das dem den denn der des deshalb die dies diese dieser dieses doch dort du ein eine einen er es für heute hier",
    "ich ihr im in ist ja jetzt kein können man mein mit morgen nach nein noch nun nur ob oder schon sein seit sie",
    "sind so und unser viele vielleicht vom von vor wann warum was wenn wer wie wir wo zu zum zur al algo algunos",
    "ahora así aunque como con cuando cuál cómo de del desde después dónde el ella ellas ellos en entonces era es esa",
    "ese eso esta está este esto estos están fue gracias ha había hay hoy la las le lo los luego me mi mientras muy",
    "más nada no nos nosotros nunca o para pero por porque pues qué quién se si sin sobre su sus sí también tampoco",
    "te todo todos tu tú un una usted y ya yo él alors après au aujourd aussi avec aucun c ce cela celui ces cet",
    "cette ceci comme comment d dans depuis des donc du elle elles en ensuite est et hier il ils j je l là le les",
    "leur lorsque ma mais merci mes moi mon même n non nos notre nous on ou où oui par parce pendant pour pourquoi",
    "puis qu quand que quel quelle qui quoi sa sans ses si son sur tous tout très tu un une vos votre vous à ça était",
    "adesso allora anche ancora c che chi ci ciao come con così cosa da dal del della di dopo dove e ecco era erano",
    "fu gli ha hanno ho i il in invece io l la le lei lo loro lui ma mi molto nel nella noi non nostro oggi ogni per",
    "perché poi più prima quale quando quello questa queste questi questo qui se sei si sono sta sul tra tu tutti",
    "tutto un una uno voi è agora ainda ao aqui as assim até com como da das de depois do dos e ela elas ele eles em",
    "então era essa esse esta este eu foi hoje isso isto já mas muito na nas nem no nos nós não o onde os ou outro",
    "para pela pelo por porque quando quem que se sem seu sim sua também tem todos tudo um uma você vocês é a ale ani",
    "bo by być być co czy dla do dlaczego dlatego dziś dzisiaj gdy gdzie i ich ja jak jaki jeden jednak jego jej jest",
    "jestem jeśli już kiedy kto która który lecz ma mam między mój na nad nie nigdy nikt o od on ona oni ono po pod",
    "potem proszę przed przez przy są się tak tam te ten teraz to tu tutaj ty u w we więc wszyscy wszystko z za ze że",
    "а без более был была были было быть вам вас весь во вот все всё вы где да даже для до его ее её если есть ещё",
    "ещё же за здесь и из или им их к как какой ко когда кто ли лишь мне много можно мой мы на над надо нам нас не",
    "него нет ни них но ну о об однако он она они оно от очень по под после потом потому почему при про сегодня",
    "сейчас со так также там те тем теперь то тогда того тоже только том тот ты у уже хотя чем через что чтобы это",
    "этот я ama ancak artık bana ben beni bir biraz biz böyle bu bugün bunun bunu burada da daha de değil diye en",
    "evet fakat gibi hala hangi hayır hem hep her hiç için ile ise işte kadar kaç kim mi nasıl ne neden nerede niye o",
    "olarak ona onlar onun orada sen siz sonra şey şimdi şu teşekkürler tüm ve veya ya yani yarın yine yok çok çünkü",
    "önce",
)  # fmt: skip
"""Words that often open a sentence, and more seldom are part of a name."""

CONJUNCTIONS = _words(
    "and but or nor so because although while when where which who that if unless until since though whereas",
    "then und aber oder denn sondern weil dass obwohl während wenn als damit sodass sowie y e pero sino",
    "porque aunque mientras cuando donde que si pues et mais ou car donc parce quoique lorsque quand où qui",
    "que dont si puis ma però oppure perché mentre quando dove che se poi mas porém porque embora enquanto",
    "quando onde que i a ale lub albo bo ponieważ że żeby gdy który która które oraz więc и а но или что",
    "чтобы потому если когда где который которая которые хотя ve ama fakat veya ya çünkü ki eğer और लेकिन या",
    "क्योंकि कि तो जब अगर जो तथा 그리고 하지만 그러나 또는 왜냐하면",
)
"""Words that a long sentence may be cut before."""
